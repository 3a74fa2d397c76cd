#include "runtime/bootstrap.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "containerd/runtime/bootstrap/v1/bootstrap.pb.h"
#include "google/protobuf/any.pb.h"

namespace corten::runtime {

namespace {

namespace bootstrap = ::containerd::runtime::bootstrap::v1;

std::string_view Trim(std::string_view text) {
  const char* const kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// protobuf's parser is tolerant: a text may parse into unknown fields only. An answer has known
// fields and no others.
std::optional<Endpoint> FromProtobuf(std::string_view answer) {
  bootstrap::BootstrapResult result;
  if (!result.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) return std::nullopt;
  if (result.address().empty() && result.protocol().empty() && result.version() == 0 &&
      !answer.empty())
    return std::nullopt;
  return Endpoint{result.version(), result.address(), result.protocol()};
}

std::optional<Endpoint> FromJson(std::string_view answer) {
  if (answer.empty() || answer.front() != '{') return std::nullopt;
  const nlohmann::json json = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto text = [&json](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto version = json.find("version");
  if (version == json.end() || !version->is_number_integer()) return std::nullopt;
  const auto number = version->get<int64_t>();
  if (number < 2 || number > 1000) return std::nullopt;
  return Endpoint{static_cast<int>(number), text("address"), text("protocol")};
}

Status Check(const Endpoint& endpoint) {
  if (endpoint.version > kMaxTaskVersion) {
    return UnimplementedError("unsupported shim version (", endpoint.version, "): newest known is ",
                              kMaxTaskVersion);
  }
  if (endpoint.address.empty()) return InvalidArgumentError("address is empty in bootstrap params");
  if (endpoint.protocol.empty())
    return InvalidArgumentError("protocol is empty in bootstrap params");
  return Ok();
}

bool EndsUpInOldShim(std::string_view binary) {
  const std::string_view name = binary.substr(binary.rfind('/') + 1);  // npos + 1 is 0
  return name.find("shim-runc-v1") != std::string_view::npos ||
         name.find("shim-runhcs-v1") != std::string_view::npos;
}

}  // namespace

Result<Endpoint> ParseEndpoint(std::string_view answer) {
  if (answer.size() > kMaxAnswer)
    return ResourceExhaustedError("answer of ", answer.size(), " bytes is no shim address");
  if (std::optional<Endpoint> endpoint = FromProtobuf(answer)) {
    TRY(Check(*endpoint));
    return std::move(*endpoint);
  }
  const std::string_view text = Trim(answer);
  if (std::optional<Endpoint> endpoint = FromJson(text)) {
    TRY(Check(*endpoint));
    return std::move(*endpoint);
  }
  Endpoint plain{2, std::string(text), "ttrpc"};
  TRY(Check(plain));
  return plain;
}

std::string EncodeEndpoint(const Endpoint& endpoint) {
  return StrCat("{\"version\":", endpoint.version,
                ",\"address\":", log::JsonString(endpoint.address),
                ",\"protocol\":", log::JsonString(endpoint.protocol), "}");
}

std::string EncodeBootstrapInput(const BootstrapInput& input, std::string_view binary) {
  if (EndsUpInOldShim(binary)) {
    if (!input.options) return {};
    google::protobuf::Any any;
    any.set_type_url(input.options->type_url);
    any.set_value(input.options->value);
    return any.SerializeAsString();
  }
  bootstrap::BootstrapParams params;
  params.set_instance_id(input.id);
  params.set_namespace_(input.ns);
  params.set_log_level(input.debug ? bootstrap::LOG_LEVEL_DEBUG : bootstrap::LOG_LEVEL_INFO);
  params.set_containerd_version(input.daemon_version);
  params.set_containerd_ttrpc_address(input.ttrpc_address);
  params.set_containerd_grpc_address(input.grpc_address);
  params.set_containerd_binary(input.daemon_binary);
  if (input.options) {
    google::protobuf::Any* any = params.add_extensions()->mutable_value();
    any->set_type_url(input.options->type_url);
    any->set_value(input.options->value);
  }
  if (!input.socket_dir.empty()) params.set_socket_dir(input.socket_dir);
  return params.SerializeAsString();
}

}  // namespace corten::runtime
