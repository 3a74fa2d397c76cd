// ctr oci: the specification a container starts from.
#include <nlohmann/json.hpp>

#include "cli/session.h"
#include "cli/verbs.h"
#include "model/descriptor.h"
#include "oci/default_spec.h"

namespace corten::cli {

namespace {

Result<int> Spec(const Values& values) {
  if (const std::string text = values.Text("platform"); !text.empty()) {
    const model::Platform platform = TRY(model::ParsePlatform(text));
    if (platform.os != "linux")
      return UnimplementedError("oci spec for ", text, ": not in this build");
  }
  PrintLine(oci::DefaultSpec(values.Text("namespace"), "").dump(4));
  return 0;
}

}  // namespace

Command OciCommand() {
  Command group;
  group.names = {"oci"};
  group.summary = "OCI tools";
  group.commands = {
      {{"spec"},
       "see the output of the default OCI spec",
       "",
       "",
       {TextFlag({"platform"},
                 "platform of the spec to print (Examples: 'linux/arm64', 'windows/amd64')")},
       {},
       &Spec}};
  return group;
}

}  // namespace corten::cli
