// Who we are to a registry: challenges, tokens, credentials.
//
// One Authorizer serves one journey. State is kept for each authority (host:port), so a redirect
// never carries what another host was told. Tokens are kept until they expire; callers that need
// the same one wait for a single request. Threads: all methods, any thread. Source: images.md 5;
// RFC 9110 (challenges), the registry token protocol.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "image/http.h"

namespace corten::image {

struct Credentials {
  enum class Kind { kNone, kPassword, kRefreshToken };
  Kind kind = Kind::kNone;
  std::string username;
  std::string secret;
};

// Asks the user; one question at a time. `challenges` are WWW-Authenticate values. May be empty:
// nobody to ask.
using AskCredentials = std::function<Result<Credentials>(
    const std::string& host, const std::vector<std::string>& challenges)>;

struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // keys in lower case
};

// Those of one or several header values, Bearer before Basic; unknown schemes are left out. Never
// fails.
std::vector<Challenge> ParseChallenges(const std::vector<std::string>& headers);

std::string Base64(std::string_view data);

class Authorizer {
 public:
  // `http` is borrowed.
  Authorizer(HttpClient* http, AskCredentials ask, WallClock clock = &Now)
      : http_(http), ask_(std::move(ask)), clock_(std::move(clock)) {}

  // The value for the Authorization header of a request to `authority`; "" if none is known to be
  // needed. May fetch a token.
  Result<std::string> Header(const std::string& authority, const std::vector<std::string>& scopes,
                             const HttpRequest& like);

  // A request was answered 401. Ok: ask for the header again and repeat the request. `sent` is the
  // header that was refused. kUnknown `authorization failed`: nothing more can be done (texts as
  // containerd's).
  Status OnUnauthorized(const std::string& authority, const std::vector<std::string>& headers,
                        const std::string& sent);

 private:
  struct Token {
    std::string value;
    Time expires;  // zero: never
  };
  struct State {
    Challenge challenge;
    Credentials credentials;
    bool asked = false;
    std::map<std::string, Token> tokens;  // by sorted scopes
  };
  Result<Token> FetchToken(const State& state, const std::vector<std::string>& scopes,
                           const HttpRequest& like);
  Result<Token> ReadToken(HttpResponse& response);

  HttpClient* const http_;
  const AskCredentials ask_;
  const WallClock clock_;
  std::mutex mutex_;  // guards states_; held while a token is fetched or credentials are asked for:
                      // once for everybody
  std::map<std::string, State> states_;
};

}  // namespace corten::image
