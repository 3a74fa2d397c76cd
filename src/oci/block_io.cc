#include "oci/block_io.h"

#include <glob.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/dir.h"
#include "oci/yaml_document.h"

namespace corten::oci {

namespace {

constexpr size_t kMaxFile = 4 << 20;  // bytes
constexpr int64_t kMinWeight = 10;    // of the kernel, as is the next
constexpr int64_t kMaxWeight = 1000;
constexpr size_t kMaxDevices = 1000;     // of one pattern
constexpr size_t kMaxSchedulers = 4096;  // bytes of a disk's list of them

struct Throttle {
  const char* name;
  const char* short_name;
  const char* member;  // of the specification
};
constexpr Throttle kThrottles[] = {
    {"ThrottleReadBps", "rbps", "throttleReadBpsDevice"},
    {"ThrottleWriteBps", "wbps", "throttleWriteBpsDevice"},
    {"ThrottleReadIOPS", "riops", "throttleReadIOPSDevice"},
    {"ThrottleWriteIOPS", "wiops", "throttleWriteIOPSDevice"},
};

bool Same(std::string_view name, const char* wanted) {
  return strcasecmp(std::string(name).c_str(), wanted) == 0;
}

Error Unknown(const std::string& field) {
  return UnknownError("error unmarshaling JSON: while decoding JSON: json: unknown field ",
                      Quoted(field));
}

// "1.5G", "2Ki", "80".
std::optional<int64_t> Quantity(std::string_view text) {
  constexpr std::string_view kUnits = "kMGTPE";
  int power = 0;
  double step = 1000;
  if (text.ends_with('i')) {
    step = 1024;
    text.remove_suffix(1);
    if (text.ends_with('K')) power = 1;
  }
  if (!text.empty() && power == 0) {
    const size_t unit = kUnits.find(text.back());
    if (unit != std::string_view::npos) power = static_cast<int>(unit) + 1;
  }
  if (step == 1024 && power == 0) return std::nullopt;
  if (power > 0) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  value = std::ceil(value * std::pow(step, power));
  if (!(value > -9e18 && value < 9e18)) return std::nullopt;
  return static_cast<int64_t>(value);
}

// What one entry of a class says; texts, as they are written.
struct Parameters {
  std::vector<std::string> devices;
  std::string weight;
  std::string throttles[std::size(kThrottles)];

  bool Throttled() const {
    for (const std::string& text : throttles) {
      if (!text.empty()) return true;
    }
    return false;
  }
};

Result<Parameters> ReadParameters(const Json& entry) {
  Parameters out;
  if (!entry.is_object()) return UnknownError("an entry of a class is no map");
  for (const auto& [name, value] : entry.items()) {
    std::string* text = Same(name, "Weight") ? &out.weight : nullptr;
    for (size_t i = 0; i < std::size(kThrottles); ++i) {
      if (Same(name, kThrottles[i].name)) text = &out.throttles[i];
    }
    if (text != nullptr) {
      if (value.is_structured()) return UnknownError(name, ": not a number");
      if (!value.is_null()) *text = value.is_string() ? value.get<std::string>() : value.dump();
    } else if (Same(name, "Devices")) {
      if (!value.is_array() && !value.is_null()) return UnknownError("Devices: not a list");
      for (const Json& device : value) {
        if (!device.is_string()) return UnknownError("Devices: not a list of patterns");
        out.devices.push_back(device.get<std::string>());
      }
    } else {
      return Unknown(name);
    }
  }
  return out;
}

Result<std::optional<int64_t>> Bounded(const char* name, const std::string& text, int64_t least,
                                       int64_t most) {
  if (text.empty()) return std::optional<int64_t>();
  const std::optional<int64_t> value = Quantity(text);
  if (!value.has_value())
    return UnknownError("syntax error in ", Quoted(name), " (", Quoted(text), ")");
  if (*value < least)
    return UnknownError("value of ", Quoted(name), " (", *value, ") smaller than minimum (", least,
                        ")");
  if (*value > most)
    return UnknownError("value of ", Quoted(name), " (", *value, ") bigger than maximum (", most,
                        ")");
  return std::optional<int64_t>(*value);
}

struct Device {
  std::string path;
  unsigned major_number = 0;
  unsigned minor_number = 0;
};

// "none [mq-deadline] bfq", or one name alone; "" if it says neither.
std::string_view ActiveScheduler(std::string_view list) {
  while (list.ends_with('\n')) list.remove_suffix(1);
  if (list.find(' ') == std::string_view::npos && !list.starts_with('[')) return list;
  const size_t open = list.find('[');
  const size_t close = list.find(']', open == std::string_view::npos ? 0 : open);
  if (open == std::string_view::npos || close == std::string_view::npos) return {};
  return list.substr(open + 1, close - open - 1);
}

// A weight is the scheduler's business, and most do not look at it. A partition has none of its
// own, as has a disk that `sys` does not know.
void CheckScheduler(const Device& device, const std::string& sys,
                    std::vector<std::string>& warnings) {
  const Result<std::string> list = ReadFileAt(
      StrCat(sys, "/", device.major_number, ":", device.minor_number, "/queue/scheduler"),
      kMaxSchedulers);
  if (!list.ok()) return;
  const std::string_view scheduler = ActiveScheduler(*list);
  if (scheduler.empty() || scheduler == "bfq" || scheduler == "cfq") return;
  warnings.push_back(StrCat("weight has no effect on ", Quoted(device.path),
                            ", whose I/O scheduler is ", scheduler, ": bfq or cfq is required"));
}

std::vector<Device> Matching(const std::string& pattern, std::vector<std::string>& warnings) {
  std::vector<Device> out;
  glob_t found = {};
  if (glob(pattern.c_str(), 0, nullptr, &found) != 0) {
    warnings.push_back(
        StrCat("device wildcard ", Quoted(pattern), " does not match any device nodes"));
    return out;
  }
  for (size_t i = 0; i < found.gl_pathc && i < kMaxDevices; ++i) {
    struct stat st = {};
    if (stat(found.gl_pathv[i], &st) != 0 || !S_ISBLK(st.st_mode)) {
      warnings.push_back(StrCat("file ", Quoted(found.gl_pathv[i]), " is not a block device"));
    } else {
      out.push_back({found.gl_pathv[i], major(st.st_rdev), minor(st.st_rdev)});
    }
  }
  globfree(&found);
  return out;
}

// The last word on a device counts.
void SetFor(Json& list, const Device& device, const char* what, int64_t value) {
  for (Json& entry : list) {
    if (entry["major"] == device.major_number && entry["minor"] == device.minor_number) {
      entry[what] = value;
      return;
    }
  }
  list.push_back({{"major", device.major_number}, {"minor", device.minor_number}, {what, value}});
}

}  // namespace

Status BlockIoClasses::AddClass(const std::string& name, const Json& entries,
                                const std::string& sys) {
  if (!entries.is_array() && !entries.is_null())
    return UnknownError("class ", Quoted(name), ": not a list");
  Json out = Json::object();
  for (const Json& entry : entries) {
    const Parameters said = TRY(ReadParameters(entry));
    const std::optional<int64_t> weight =
        TRY(Bounded("Weight", said.weight, kMinWeight, kMaxWeight));
    std::optional<int64_t> rates[std::size(kThrottles)];
    for (size_t i = 0; i < std::size(kThrottles); ++i)
      rates[i] = TRY(Bounded(kThrottles[i].name, said.throttles[i], 0, INT64_MAX));
    if (said.devices.empty() && said.Throttled()) {
      std::string all;
      for (size_t i = 0; i < std::size(kThrottles); ++i)
        all += StrCat(i == 0 ? "" : " ", kThrottles[i].short_name, "=", Quoted(said.throttles[i]));
      return UnknownError("ignoring throttling (", all, "): Devices not listed");
    }
    if (said.devices.empty() && weight.has_value()) out["weight"] = *weight;
    for (const std::string& pattern : said.devices) {
      for (const Device& device : Matching(pattern, warnings_)) {
        if (weight.has_value()) {
          CheckScheduler(device, sys, warnings_);
          SetFor(ArrayOf(out, "weightDevice"), device, "weight", *weight);
        }
        for (size_t i = 0; i < std::size(kThrottles); ++i) {
          if (rates[i].has_value())
            SetFor(ArrayOf(out, kThrottles[i].member), device, "rate", *rates[i]);
        }
      }
    }
  }
  classes_[name] = std::make_shared<const Json>(std::move(out));
  return Ok();
}

Result<BlockIoClasses> BlockIoClasses::Parse(const std::string& text, const std::string& sys) {
  const Result<Json> parsed = ParseYaml(text);
  if (!parsed.ok()) return UnknownError("error converting YAML to JSON: ", parsed.error().text());
  BlockIoClasses out;
  if (parsed->is_null()) return out;
  if (!parsed->is_object()) return UnknownError("not a map of Classes");
  for (const auto& [name, classes] : parsed->items()) {
    if (!Same(name, "Classes")) return Unknown(name);
    if (classes.is_null()) continue;
    if (!classes.is_object()) return UnknownError("Classes: not a map");
    for (const auto& [class_name, entries] : classes.items())
      TRY(out.AddClass(class_name, entries, sys));
  }
  return out;
}

Result<BlockIoClasses> BlockIoClasses::Load(const std::string& path) {
  const Result<std::string> text = ReadFileAt(path, kMaxFile);
  if (!text.ok()) {
    const int cause = text.error().sys_errno();
    return UnknownError("failed to read config file ", Quoted(path), ": ",
                        cause == ENOENT ? StrCat("open ", path, ": no such file or directory")
                                        : text.error().text());
  }
  return Parse(*text).Context(StrCat("failed to set configuration from file ", Quoted(path)));
}

Result<Json> BlockIoClasses::Find(const std::string& name) const {
  const auto found = classes_.find(name);
  if (found == classes_.end())
    return UnknownError("no OCI BlockIO parameters for class ", Quoted(name));
  return *found->second;
}

}  // namespace corten::oci
