#include "shim/arguments.h"

namespace corten::shim {

namespace {

struct TextFlag {
  std::string_view name;
  std::string Arguments::* target;
};
constexpr TextFlag kTextFlags[] = {
    {"namespace", &Arguments::ns},
    {"id", &Arguments::id},
    {"address", &Arguments::address},
    {"publish-binary", &Arguments::publish_binary},
    {"bundle", &Arguments::bundle},
    {"socket", &Arguments::socket},
    {"debug-socket", &Arguments::debug_socket},
};

struct ActionWord {
  std::string_view word;
  Action action;
  bool takes_operand;
};
constexpr ActionWord kActions[] = {
    {"start", Action::kStart, false},
    {"delete", Action::kDelete, false},
    {"unmount", Action::kUnmount, true},
    {"mount", Action::kMount, true},
};

Result<bool> BoolValue(std::string_view name, std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return InvalidArgumentError("invalid boolean value ", Quoted(text), " for -", name);
}

// Takes the flag words at the front; the rest begins with the action.
Status TakeFlags(std::span<const std::string_view>* words, Arguments* out, bool* info,
                 bool* version) {
  while (!words->empty()) {
    std::string_view word = words->front();
    if (word.size() < 2 || word[0] != '-') return Ok();
    *words = words->subspan(1);
    if (word == "--") return Ok();
    word.remove_prefix(word[1] == '-' ? 2 : 1);
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const bool has_value = equals != std::string_view::npos;
    const std::string_view value = has_value ? word.substr(equals + 1) : "";

    bool* flag = name == "debug"                    ? &out->debug
                 : name == "info"                   ? info
                 : name == "v" || name == "version" ? version
                                                    : nullptr;
    if (flag != nullptr) {
      *flag = true;
      if (has_value) *flag = TRY(BoolValue(name, value));
      continue;
    }
    const TextFlag* found = nullptr;
    for (const TextFlag& candidate : kTextFlags) {
      if (candidate.name == name) found = &candidate;
    }
    if (found == nullptr) return InvalidArgumentError("flag provided but not defined: -", name);
    if (has_value) {
      out->*found->target = std::string(value);
    } else if (words->empty()) {
      return InvalidArgumentError("flag needs an argument: -", name);
    } else {
      out->*found->target = std::string(words->front());
      *words = words->subspan(1);
    }
  }
  return Ok();
}

}  // namespace

Result<Arguments> ParseArguments(std::span<const std::string_view> words) {
  Arguments out;
  bool info = false;
  bool version = false;
  TRY(TakeFlags(&words, &out, &info, &version));
  if (version || info) {
    out.action = version ? Action::kVersion : Action::kInfo;
    return out;
  }
  if (!words.empty() && !words.front().empty()) {
    const ActionWord* found = nullptr;
    for (const ActionWord& candidate : kActions) {
      if (candidate.word == words.front()) found = &candidate;
    }
    if (found == nullptr) return InvalidArgumentError("unknown action ", Quoted(words.front()));
    out.action = found->action;
    if (found->takes_operand) {
      if (words.size() < 2 || words[1].empty())
        return InvalidArgumentError("action ", found->word, ": path is missing");
      out.operand = std::string(words[1]);
      return out;
    }
  }
  if (out.ns.empty()) return InvalidArgumentError("shim namespace cannot be empty");
  return out;
}

}  // namespace corten::shim
