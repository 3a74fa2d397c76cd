// corten images.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/corten_verbs.h"
#include "cli/image_journeys.h"
#include "cli/output.h"
#include "cli/table.h"

namespace corten::cli {

namespace {

constexpr size_t kShortDigest = 12;

struct Line {
  metadata::Image image;
  std::vector<std::string> platforms;  // whose parts are here, this machine's first
  int64_t bytes = 0;                   // of this machine's parts; 0: none are here
};

Line LineOf(content::Store& content, metadata::Image image) {
  Line out;
  out.image = std::move(image);
  const Result<std::vector<model::Platform>> platforms = PlatformsUnder(content, out.image.target);
  if (platforms.ok()) {
    for (const model::Platform& platform : *platforms)
      out.platforms.push_back(model::FormatPlatform(platform));
  }
  const Result<ImageParts> parts = PartsOf(content, out.image.target, model::HostPlatform());
  if (!parts.ok()) return out;
  out.bytes = parts->descriptor.size + parts->manifest.config.size;
  for (const model::Descriptor& layer : parts->manifest.layers) out.bytes += layer.size;
  return out;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += StrCat(out.empty() ? "" : ",", word);
  return out.empty() ? "-" : out;
}

Result<int> Images(Session& session, const Values& values) {
  const bool json = TRY(WantsJson(values));
  if (!values.args.empty())
    return InvalidArgumentError("no such word: ", Quoted(values.Arg(0)),
                                "; see `corten images --help`");
  const std::vector<metadata::Image> images = TRY(session.images().List(session.ns(), {}));
  const std::unique_ptr<content::Store> content = session.Content();
  Table table({1, 3, false});
  table.Row({"NAME", "DIGEST", "SIZE", "PLATFORMS", "CREATED"}, /*trailing=*/false);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const metadata::Image& image : images) {
    if (values.Bool("quiet")) {
      PrintLine(image.name);
      continue;
    }
    const Line line = LineOf(*content, image);
    const std::string digest = image.target.digest.str();
    if (json) {
      list.push_back({{"name", image.name},
                      {"digest", digest},
                      {"type", image.target.media_type},
                      {"size", line.bytes},
                      {"platforms", line.platforms},
                      {"labels", image.labels},
                      {"created", FormatRfc3339(image.created_at)}});
      continue;
    }
    const size_t hex = digest.find(':') + 1;
    table.Row(
        {image.name, digest.substr(hex, kShortDigest),
         line.bytes > 0 ? BinarySize(line.bytes) : "-", Joined(line.platforms),
         StrCat(HumanAge(std::max<int64_t>(0, Now().seconds - image.created_at.seconds)), " ago")},
        /*trailing=*/false);
  }
  if (values.Bool("quiet")) return 0;
  if (json) {
    PrintLine(list.dump(2));
  } else {
    table.Print();
  }
  return 0;
}

}  // namespace

Command ImageListVerb() {
  return {{"list", "ls"},
          "list images",
          "",
          "",
          {BoolFlag({"quiet", "q"}, "names only"), OutputFlag()},
          {},
          Connected(&Images)};
}

}  // namespace corten::cli
