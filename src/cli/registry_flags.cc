#include "cli/registry_flags.h"

#include <termios.h>
#include <unistd.h>

#include <cstdio>

#include "cli/byte_files.h"

namespace corten::cli {

namespace {

constexpr size_t kMaxPassword = 4096;

// A line from the terminal, not shown while it is typed.
Result<std::string> AskPassword() {
  termios saved = {};
  if (tcgetattr(0, &saved) != 0) return ErrnoError(errno, "read password");
  termios silent = saved;
  silent.c_lflag &= static_cast<tcflag_t>(~ECHO);
  Print("Password: ");
  (void)fflush(stdout);
  (void)tcsetattr(0, TCSAFLUSH, &silent);
  std::string line;
  char letter = 0;
  Result<size_t> n = ReadSome(FdRef(0), &letter, 1, "password");
  while (n.ok() && *n == 1 && letter != '\n' && line.size() < kMaxPassword) {
    line.push_back(letter);
    n = ReadSome(FdRef(0), &letter, 1, "password");
  }
  (void)tcsetattr(0, TCSAFLUSH, &saved);
  Print("\n");
  if (!n.ok()) return std::move(n).TakeError();
  return line;
}

}  // namespace

std::vector<Flag> RegistryFlags() {
  return {
      BoolFlag({"skip-verify", "k"}, "skip SSL certificate validation"),
      BoolFlag({"plain-http"}, "allow connections using plain HTTP"),
      TextFlag({"user", "u"}, "user[:password] Registry user and password"),
      TextFlag({"refresh"}, "refresh token for authorization server"),
      TextFlag({"hosts-dir"}, "Custom hosts configuration directory"),
      TextFlag({"tlscacert"}, "path to TLS root CA"),
      TextFlag({"tlscert"}, "path to TLS client certificate"),
      TextFlag({"tlskey"}, "path to TLS client key"),
      BoolFlag({"http-dump"},
               "dump all HTTP request/responses when interacting with container registry"),
      BoolFlag({"http-trace"}, "enable HTTP tracing for registry interactions"),
  };
}

Result<client::TransferSecret> SecretOf(const Values& values) {
  client::TransferSecret out;
  out.username = values.Text("user");
  const size_t colon = out.username.find(':');
  if (colon != std::string::npos && colon > 0) {
    out.secret = out.username.substr(colon + 1);
    out.username.resize(colon);
  }
  if (!out.username.empty()) {
    if (out.secret.empty()) out.secret = TRY(AskPassword());
  } else {
    out.secret = values.Text("refresh");
  }
  return out;
}

Result<image::RegistryOptions> RegistryOptionsOf(const Values& values) {
  image::RegistryOptions out;
  const client::TransferSecret secret = TRY(SecretOf(values));
  if (!secret.secret.empty()) {
    out.ask = [secret](const std::string&,
                       const std::vector<std::string>&) -> Result<image::Credentials> {
      return image::Credentials{secret.username.empty() ? image::Credentials::Kind::kRefreshToken
                                                        : image::Credentials::Kind::kPassword,
                                secret.username, secret.secret};
    };
  }
  out.hosts_dir = values.Text("hosts-dir");
  if (values.Bool("plain-http")) out.default_scheme = "http";
  out.tls.skip_verify = values.Bool("skip-verify");
  if (const std::string ca = values.Text("tlscacert"); !ca.empty()) out.tls.ca_files = {ca};
  const std::string certificate = values.Text("tlscert");
  const std::string key = values.Text("tlskey");
  if (!certificate.empty() || !key.empty()) {
    if (certificate.empty() || key.empty())
      return InvalidArgumentError("flags --tlscert and --tlskey must be set together");
    out.tls.client_pairs = {{certificate, key}};
  }
  if (values.Bool("http-dump") || values.Bool("http-trace")) {
    out.log = [](const std::string& text) {
      (void)WriteAll(FdRef(2), StrCat(text, "\n"),
                     "standard error");  // a closed terminal ends nothing
    };
  }
  return out;
}

RemoteRegistry::~RemoteRegistry() {
  if (debug_ != nullptr) debug_->Cancel();
  if (debug_writer_.joinable()) debug_writer_.join();
}

Result<std::unique_ptr<RemoteRegistry>> RemoteRegistry::Open(Session& session, const Values& values,
                                                             const std::string& reference) {
  namespace types = containerd::types::transfer;
  std::unique_ptr<RemoteRegistry> out(new RemoteRegistry());
  out->message_.set_reference(reference);
  types::RegistryResolver* resolver = out->message_.mutable_resolver();
  client::TransferSecret secret = TRY(SecretOf(values));
  if (!secret.secret.empty()) {
    out->answers_ =
        TRY(client::SecretAnswers::Open(session.connection(), session.scope(), std::move(secret)));
    resolver->set_auth_stream(out->answers_->stream());
  }
  resolver->set_host_dir(values.Text("hosts-dir"));
  if (values.Bool("plain-http")) resolver->set_default_scheme("http");
  const bool dump = values.Bool("http-dump");
  const bool trace = values.Bool("http-trace");
  if (dump || trace) {
    resolver->set_http_debug(dump && trace ? types::BOTH : dump ? types::DEBUG : types::TRACE);
    out->debug_ = TRY(client::Stream::Open(session.connection(), session.scope(), "logs"));
    resolver->set_logs_stream(out->debug_->id());
    out->debug_writer_ = std::thread([stream = out->debug_.get()] {
      FdSink sink(FdRef(2), "standard error");
      (void)client::ReceiveBytes(*stream, sink);  // what is lost is a log line
    });
  }
  return out;
}

}  // namespace corten::cli
