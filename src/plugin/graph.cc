#include "plugin/graph.h"

#include <algorithm>

namespace corten::plugin {

namespace {
constexpr std::string_view kSkipMarker = "skip plugin";
}

Error SkipPlugin(std::string_view why) { return UnknownError(why, ": ", kSkipMarker); }

std::string InitContext::RootDir() const { return StrCat(Property("root"), "/", uri_); }
std::string InitContext::StateDir() const { return StrCat(Property("state"), "/", uri_); }

const std::string& InitContext::Property(const std::string& name) const {
  static const std::string empty;
  const auto found = graph_->options_.properties.find(name);
  return found == graph_->options_.properties.end() ? empty : found->second;
}

Result<std::vector<size_t>> Graph::Order(const std::vector<bool>& enabled) const {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(descriptors_.size(), Mark::kNew);
  std::vector<size_t> order;
  // Depth first, in the order of the list, so that the outcome does not depend on anything else.
  const std::function<Status(size_t)> visit = [&](size_t index) -> Status {
    if (marks[index] == Mark::kDone || !enabled[index]) return Ok();
    if (marks[index] == Mark::kOpen)
      return InternalError("plugin ", descriptors_[index].uri(), ": needs itself in a circle");
    marks[index] = Mark::kOpen;
    for (const std::string& type : descriptors_[index].requires_types) {
      for (size_t other = 0; other < descriptors_.size(); ++other) {
        if (other != index &&
            (type == "*" ? marks[other] == Mark::kNew : descriptors_[other].type == type))
          TRY(visit(other));
      }
    }
    marks[index] = Mark::kDone;
    order.push_back(index);
    return Ok();
  };
  for (size_t index = 0; index < descriptors_.size(); ++index) TRY(visit(index));
  return order;
}

Status Graph::Initialise(const Options& options,
                         const std::function<void(const Record&)>& on_failure) {
  options_ = options;
  for (const std::string& uri : options.disabled) {
    if (uri.find('.') == std::string::npos)
      return InvalidArgumentError("invalid disabled plugin URI ", Quoted(uri),
                                  " expect io.containerd.x.vx");
  }
  for (const std::string& uri : options.required) {
    if (uri.find('.') == std::string::npos)
      return InvalidArgumentError("invalid required plugin URI ", Quoted(uri),
                                  " expect io.containerd.x.vx");
  }
  std::vector<bool> enabled;
  for (const Descriptor& descriptor : descriptors_) {
    enabled.push_back(std::find(options.disabled.begin(), options.disabled.end(),
                                descriptor.uri()) == options.disabled.end());
  }
  const std::vector<size_t> order = TRY(Order(enabled));
  std::vector<std::string> missing = options.required;
  for (const size_t index : order) {
    Build(index);
    const Record& record = records_.back();
    const std::string uri = descriptors_[index].uri();
    const bool required = std::erase(missing, uri) > 0;
    if (record.error == nullptr) continue;
    if (required) return record.error->Clone().Context(StrCat("load required plugin ", uri));
    if (on_failure) on_failure(record);
  }
  if (!missing.empty()) {
    std::string names;
    for (const std::string& uri : missing) names += StrCat(names.empty() ? "" : " ", uri);
    return InvalidArgumentError("required plugin [", names, "] not included");
  }
  return Ok();
}

void Graph::Build(size_t index) {
  Descriptor& descriptor = descriptors_[index];
  InitContext context(this, descriptor.uri(), descriptor.config.get());
  Result<std::shared_ptr<void>> built = descriptor.init(context);
  Record record;
  record.type = descriptor.type;
  record.id = descriptor.id;
  record.requires_types = descriptor.requires_types;
  record.facts = std::move(context.facts());
  if (built.ok()) {
    instances_.push_back({descriptor.type, descriptor.id, std::move(built).value()});
  } else {
    record.skipped = built.error().text().ends_with(kSkipMarker);
    record.error = std::make_unique<Error>(std::move(built).TakeError());
  }
  records_.push_back(std::move(record));
}

void Graph::Close() {
  while (!instances_.empty()) instances_.pop_back();
}

void* Graph::Find(std::string_view type, std::string_view id) const {
  for (const Instance& instance : instances_) {
    if (instance.type == type && instance.id == id) return instance.object.get();
  }
  return nullptr;
}

std::map<std::string, void*> Graph::FindAll(std::string_view type) const {
  std::map<std::string, void*> out;
  for (const Instance& instance : instances_) {
    if (instance.type == type) out[instance.id] = instance.object.get();
  }
  return out;
}

}  // namespace corten::plugin
