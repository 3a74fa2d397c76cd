#include "image/auth.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_depth.h"
#include "image/json_text.h"
#include "image/url.h"

namespace corten::image {

namespace {

constexpr size_t kMaxTokenAnswer = 1 << 20;
constexpr size_t kMaxChallenge = 16 << 10;
constexpr std::string_view kClientId = "containerd-client";

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool IsTokenChar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

// Reads tokens and quoted strings off the front of a header.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  void Skip(std::string_view set) {
    while (!text_.empty() && set.find(text_.front()) != std::string_view::npos)
      text_.remove_prefix(1);
  }
  std::string Word() {
    size_t n = 0;
    while (n < text_.size() && IsTokenChar(text_[n])) ++n;
    std::string out(text_.substr(0, n));
    text_.remove_prefix(n);
    return out;
  }
  bool Take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string Value() {
    if (!Take('"')) return Word();
    std::string out;
    while (!text_.empty() && text_.front() != '"') {
      if (text_.front() == '\\' && text_.size() > 1) text_.remove_prefix(1);
      out += text_.front();
      text_.remove_prefix(1);
    }
    (void)Take('"');
    return out;
  }
  bool done() const { return text_.empty(); }

 private:
  std::string_view text_;
};

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), Lower);
  return text;
}

// A challenge: scheme, then parameters up to the end of the header.
Challenge ParseOne(std::string_view header) {
  Challenge out;
  Scanner scan(header.substr(0, kMaxChallenge));
  scan.Skip(" \t");
  out.scheme = LowerCase(scan.Word());
  while (!scan.done()) {
    scan.Skip(" \t,");
    const std::string key = LowerCase(scan.Word());
    scan.Skip(" \t");
    if (key.empty() || !scan.Take('=')) break;
    scan.Skip(" \t");
    out.parameters[key] = scan.Value();
  }
  return out;
}

int Order(const Challenge& challenge) { return challenge.scheme == "bearer" ? 0 : 1; }

std::string Parameter(const Challenge& challenge, const std::string& key) {
  const auto found = challenge.parameters.find(key);
  return found == challenge.parameters.end() ? std::string() : found->second;
}

// What is asked for: the challenge's scopes and ours, each once, sorted.
std::vector<std::string> AllScopes(const Challenge& challenge,
                                   const std::vector<std::string>& scopes) {
  std::set<std::string> all(scopes.begin(), scopes.end());
  const std::string asked = Parameter(challenge, "scope");
  for (size_t at = 0; at < asked.size();) {
    const size_t end = std::min(asked.find(' ', at), asked.size());
    if (end > at) all.insert(asked.substr(at, end - at));
    at = end + 1;
  }
  return {all.begin(), all.end()};
}

std::string Join(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& text : list) out += out.empty() ? text : " " + text;
  return out;
}

Error Refused(std::string_view why) {
  return UnknownError(why, why.empty() ? "" : ": ", "authorization failed");
}

}  // namespace

std::string Base64(std::string_view data) {
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < data.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (i + j < data.size() ? static_cast<unsigned char>(data[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j)
      out += i + j <= data.size() ? kLetters[(bits >> (18 - 6 * j)) & 63] : '=';
  }
  return out;
}

std::vector<Challenge> ParseChallenges(const std::vector<std::string>& headers) {
  std::vector<Challenge> out;
  for (const std::string& header : headers) {
    Challenge challenge = ParseOne(header);
    if (challenge.scheme == "bearer" || challenge.scheme == "basic")
      out.push_back(std::move(challenge));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Challenge& a, const Challenge& b) { return Order(a) < Order(b); });
  return out;
}

Result<std::string> Authorizer::Header(const std::string& authority,
                                       const std::vector<std::string>& scopes,
                                       const HttpRequest& like) {
  const std::lock_guard lock(mutex_);
  const auto found = states_.find(authority);
  if (found == states_.end()) return std::string();
  State& state = found->second;
  if (state.challenge.scheme == "basic") {
    return StrCat("Basic ",
                  Base64(StrCat(state.credentials.username, ":", state.credentials.secret)));
  }
  const std::vector<std::string> all = AllScopes(state.challenge, scopes);
  const std::string key = Join(all);
  if (const auto token = state.tokens.find(key); token != state.tokens.end()) {
    if (token->second.expires == Time{} || clock_() < token->second.expires)
      return StrCat("Bearer ", token->second.value);
  }
  Token token = TRY(FetchToken(state, all, like));
  const std::string value = token.value;
  state.tokens[key] = std::move(token);
  return StrCat("Bearer ", value);
}

Status Authorizer::OnUnauthorized(const std::string& authority,
                                  const std::vector<std::string>& headers,
                                  const std::string& sent) {
  const std::vector<Challenge> challenges = ParseChallenges(headers);
  if (challenges.empty()) return Refused("server message: no known authentication scheme");
  const std::lock_guard lock(mutex_);
  State& state = states_[authority];
  const bool again = !sent.empty();
  for (const Challenge& challenge : challenges) {
    if (challenge.scheme == "bearer") {
      const std::string error = Parameter(challenge, "error");
      if (again && !error.empty()) {
        states_.erase(authority);
        return Refused(StrCat("server message: ", error));
      }
      if (again && state.tokens.empty()) continue;
      if (Parameter(challenge, "realm").empty())
        return Refused("no realm specified for token auth challenge");
    }
    if (!state.asked && ask_) {
      state.asked = true;
      state.credentials = TRY(ask_(authority, headers));
    }
    if (challenge.scheme == "basic" &&
        (again || state.credentials.username.empty() || state.credentials.secret.empty())) {
      states_.erase(authority);
      return Refused(again ? "server message: invalid username or password"
                           : "no basic auth credentials");
    }
    state.challenge = challenge;
    state.tokens.clear();
    return Ok();
  }
  return Refused("server message: insufficient_scope");
}

Result<Authorizer::Token> Authorizer::FetchToken(const State& state,
                                                 const std::vector<std::string>& scopes,
                                                 const HttpRequest& like) {
  const std::string realm = Parameter(state.challenge, "realm");
  const std::string service = Parameter(state.challenge, "service");
  const Credentials& credentials = state.credentials;
  HttpRequest request = like;
  request.headers.clear();
  // TLS settings and added headers of the registry's host hold for its token server, as in
  // containerd.
  for (const auto& [name, value] : like.headers) {
    if (name != "Authorization" && name != "Accept" && name != "Range")
      request.headers.emplace_back(name, value);
  }
  const bool secret = credentials.kind != Credentials::Kind::kNone && !credentials.secret.empty();
  if (secret) {
    request.method = "POST";
    request.url = realm;
    const bool refresh = credentials.username.empty();
    request.body =
        StrCat("client_id=", kClientId, "&grant_type=", refresh ? "refresh_token" : "password",
               "&scope=", QueryEscape(Join(scopes)), "&service=", QueryEscape(service));
    request.body += refresh ? StrCat("&refresh_token=", QueryEscape(credentials.secret))
                            : StrCat("&username=", QueryEscape(credentials.username),
                                     "&password=", QueryEscape(credentials.secret));
    request.headers.emplace_back("Content-Type",
                                 "application/x-www-form-urlencoded; charset=utf-8");
    const std::unique_ptr<HttpResponse> answer =
        TRY(http_->Send(request).Context("failed to fetch oauth token"));
    if (answer->status() >= 200 && answer->status() < 400) return ReadToken(*answer);
    const int status = answer->status();
    const bool try_get =
        status == 404 || status == 401 || status == 400 || (status == 405 && !refresh);
    if (!try_get)
      return Refused(StrCat("failed to fetch oauth token: unexpected status from POST request to ",
                            RedactUrl(realm), ": ", answer->StatusText()));
    request.headers.pop_back();
    request.body.clear();
  }
  request.method = "GET";
  request.url = StrCat(realm, realm.find('?') == std::string::npos ? "?" : "&",
                       "service=", QueryEscape(service));
  for (const std::string& scope : scopes) request.url += StrCat("&scope=", QueryEscape(scope));
  if (secret)
    request.headers.emplace_back(
        "Authorization",
        StrCat("Basic ", Base64(StrCat(credentials.username, ":", credentials.secret))));
  const std::unique_ptr<HttpResponse> answer = TRY(http_->Send(request).Context(
      secret ? "failed to fetch oauth token" : "failed to fetch anonymous token"));
  if (answer->status() < 200 || answer->status() >= 400) {
    return Refused(
        StrCat(secret ? "failed to fetch oauth token" : "failed to fetch anonymous token",
               ": unexpected status from GET request to ", RedactUrl(request.url), ": ",
               answer->StatusText()));
  }
  return ReadToken(*answer);
}

Result<Authorizer::Token> Authorizer::ReadToken(HttpResponse& response) {
  const std::string text = TRY(ReadBody(response, kMaxTokenAnswer));
  if (NestedTooDeep(text)) return InvalidArgumentError("token answer: nested too deeply");
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgumentError("unable to decode token response");
  Token token;
  for (const char* key : {"access_token", "token"}) {
    const auto found = json.find(key);
    if (token.value.empty() && found != json.end() && found->is_string())
      token.value = found->get<std::string>();
  }
  if (token.value.empty() || token.value.find_first_of("\r\n") != std::string::npos) {
    return Refused("authorization server did not include a token in the response");
  }
  const auto seconds = json.find("expires_in");
  if (seconds != json.end() && seconds->is_number_integer()) {
    token.expires = clock_();
    token.expires.seconds += std::clamp<int64_t>(seconds->get<int64_t>(), 0, int64_t{1} << 32);
  }
  return token;
}

}  // namespace corten::image
