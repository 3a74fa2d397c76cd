#include "cli/command.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/clock.h"
#include "base/nearest.h"

namespace corten::cli {

namespace {

const Command* FindCommand(const std::vector<Command>& commands, std::string_view word) {
  for (const Command& command : commands) {
    if (std::find(command.names.begin(), command.names.end(), word) != command.names.end())
      return &command;
  }
  return nullptr;
}

const Flag* FindFlag(const std::vector<Flag>& flags, std::string_view name) {
  for (const Flag& flag : flags) {
    if (std::find(flag.names.begin(), flag.names.end(), name) != flag.names.end()) return &flag;
  }
  return nullptr;
}

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// How a flag is written: "-t", "--time". The ctr tree's errors have one dash for both.
std::string Dashed(std::string_view name, bool ctr) {
  return StrCat(ctr || name.size() == 1 ? "-" : "--", name);
}

// Whether `text` can be a value of this kind; the words of the error are those of Go's flag
// package in the ctr tree.
Status CheckValue(const Flag& flag, const std::string& text, bool ctr) {
  const auto bad = [&](std::string_view why) {
    return InvalidArgumentError("invalid value ", Quoted(text), " for flag ",
                                Dashed(flag.names[0], ctr), ": ", why);
  };
  char* end = nullptr;
  switch (flag.kind) {
    case FlagKind::kBool:
      if (text != "true" && text != "false" && text != "1" && text != "0" && text != "t" &&
          text != "f")
        return bad("parse error");
      return Ok();
    case FlagKind::kInt:
      (void)strtoll(text.c_str(), &end, 0);
      return text.empty() || *end != 0 ? Status(bad("parse error")) : Ok();
    case FlagKind::kUnsigned: {
      uint64_t value = 0;
      return ParseU64(text, &value) && value <= INT64_MAX ? Ok() : Status(bad("parse error"));
    }
    case FlagKind::kFloat:
      (void)strtod(text.c_str(), &end);
      return text.empty() || *end != 0 ? Status(bad("parse error")) : Ok();
    case FlagKind::kDuration:
      if (ParseDuration(text).ok()) return Ok();
      return bad(ctr ? "parse error" : "want a time such as 10s, 500ms or 1m30s");
    case FlagKind::kString:
    case FlagKind::kList:
      break;
  }
  return Ok();
}

// "--label value [ --label value ]", "--quiet, -q".
std::string FlagNames(const Flag& flag) {
  std::string names;
  for (const std::string& name : flag.names) {
    names += StrCat(names.empty() ? "" : ", ", name.size() == 1 ? "-" : "--", name,
                    flag.kind == FlagKind::kBool ? "" : " value");
  }
  return flag.kind == FlagKind::kList ? StrCat(names, " [ ", names, " ]") : names;
}

std::string FlagText(const Flag& flag) {
  std::string fallback;
  if (flag.kind == FlagKind::kBool) {
    fallback = " (default: false)";
  } else if (!flag.fallback.empty()) {
    fallback = StrCat(
        " (default: ", flag.kind == FlagKind::kString ? Quoted(flag.fallback) : flag.fallback, ")");
  }
  return StrCat(flag.help, fallback, flag.env.empty() ? "" : StrCat(" [$", flag.env, "]"));
}

// Two columns, the first as wide as it must be.
std::string Columns(const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, left.size());
  std::string out;
  for (const auto& [left, right] : rows)
    out += StrCat("   ", left, std::string(width - left.size(), ' '), "  ", right, "\n");
  return out;
}

std::string NamesOf(const Command& command) {
  std::string names;
  for (const std::string& name : command.names) names += StrCat(names.empty() ? "" : ", ", name);
  return names;
}

void PrintHelp(const std::string& path, const Command& command, bool is_root) {
  std::string out = StrCat("NAME:\n   ", path, command.summary.empty() ? "" : " - ",
                           command.summary, "\n\nUSAGE:\n   ", path);
  if (is_root) {
    out += " [global options] command [command options] [arguments...]\n";
  } else if (!command.commands.empty()) {
    out += " command [command options] [arguments...]\n";
  } else {
    out +=
        StrCat(" [command options]", command.arguments.empty() ? "" : " ", command.arguments, "\n");
  }
  if (!command.description.empty()) out += StrCat("\nDESCRIPTION:\n   ", command.description, "\n");
  if (!command.commands.empty()) {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const Command& sub : command.commands) rows.emplace_back(NamesOf(sub), sub.summary);
    rows.emplace_back("help, h", "show a command's help");
    out += StrCat("\nCOMMANDS:\n", Columns(rows));
  }
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Flag& flag : command.flags) {
    if (!flag.hidden) rows.emplace_back(FlagNames(flag), FlagText(flag));
  }
  rows.emplace_back("--help, -h", "show this help");
  out += StrCat(is_root ? "\nGLOBAL OPTIONS:\n" : "\nOPTIONS:\n", Columns(rows));
  (void)fputs(out.c_str(), stdout);
}

}  // namespace

class Parser {
 public:
  explicit Parser(const Command& root) : root_(root) {}

  int Run(const std::vector<std::string>& args) {
    const Command* command = &root_;
    std::string path = root_.names[0];
    size_t at = 0;
    while (true) {
      Declare(*command);
      flags_ended_ = false;
      bool help = false;
      const Status parsed = TakeFlags(*command, args, &at, &help);
      if (!parsed.ok()) {
        return WrongUsage(*command, path, parsed.error());
      }
      if (help) {
        PrintHelp(path, *command, command == &root_);
        return 0;
      }
      if (command->commands.empty() || (at < args.size() && command->action &&
                                        FindCommand(command->commands, args[at]) == nullptr))
        break;
      if (at == args.size()) {
        if (command->action) break;
        PrintHelp(path, *command, command == &root_);
        return 0;
      }
      const std::string& word = args[at];
      const Command* next = FindCommand(command->commands, word);
      if (next == nullptr) return NoTopic(*command, path, word, args, at);
      ++at;
      command = next;
      path += StrCat(" ", next->names[0]);
    }
    values_.help_ = [&] { PrintHelp(path, *command, command == &root_); };
    if (command->flags_anywhere && !flags_ended_) {
      const Status parsed = TakeMixed(*command, args, at);
      if (!parsed.ok()) return WrongUsage(*command, path, parsed.error());
    } else {
      values_.args.assign(args.begin() + static_cast<std::ptrdiff_t>(at), args.end());
    }
    const Result<int> code = command->action(values_);
    return code.ok() ? *code : Fail(code.error());
  }

 private:
  bool IsCtr() const { return root_.names[0] == "ctr"; }

  int Fail(const Error& error) const {
    // People are told what is wrong with their words; the code's name adds nothing to that.
    const bool plain =
        !IsCtr() && (error.Is(Code::kInvalidArgument) || error.Is(Code::kFailedPrecondition));
    (void)fprintf(stderr, "%s: %s\n", root_.names[0].c_str(),
                  plain ? error.text().c_str() : error.WireText().c_str());
    return 1;
  }

  // The ctr tree shows everything, as the original; elsewhere a hint is enough.
  int WrongUsage(const Command& command, const std::string& path, const Error& error) const {
    if (IsCtr()) {
      (void)printf("Incorrect Usage: %s\n\n", error.text().c_str());
      PrintHelp(path, command, &command == &root_);
      (void)fflush(stdout);
    }
    (void)fprintf(stderr, "%s: %s\n", root_.names[0].c_str(), error.text().c_str());
    if (!IsCtr()) (void)fprintf(stderr, "See '%s --help'.\n", path.c_str());
    return 1;
  }

  int NoTopic(const Command& command, const std::string& path, const std::string& word,
              const std::vector<std::string>& args, size_t at) const {
    if (word == "help" || word == "h") {
      const Command* wanted =
          at + 1 < args.size() ? FindCommand(command.commands, args[at + 1]) : &command;
      if (wanted != nullptr) {
        PrintHelp(wanted == &command ? path : StrCat(path, " ", wanted->names[0]), *wanted,
                  wanted == &root_);
        return 0;
      }
    }
    (void)fprintf(stderr, "No help topic for '%s'\n", word.c_str());
    std::vector<std::string> names;
    for (const Command& sub : command.commands)
      names.insert(names.end(), sub.names.begin(), sub.names.end());
    const std::string nearest = NearestName(word, names);
    if (!nearest.empty() && !IsCtr())
      (void)fprintf(stderr, "Did you mean '%s %s'?\n", path.c_str(), nearest.c_str());
    if (nearest.empty() && !IsCtr()) (void)fprintf(stderr, "See '%s --help'.\n", path.c_str());
    return 3;
  }

  void Declare(const Command& command) {
    for (const Flag& flag : command.flags) {
      Values::Value value;
      value.kind = flag.kind;
      if (flag.kind != FlagKind::kList || !flag.fallback.empty()) value.texts = {flag.fallback};
      const char* env = flag.env.empty() ? nullptr : getenv(flag.env.c_str());
      if (env != nullptr && env[0] != 0) {
        value.texts = {env};
        value.given = true;
      }
      values_.values_[flag.names[0]] = std::move(value);
    }
  }

  // Flags and arguments in any order, until `--`.
  Status TakeMixed(const Command& command, const std::vector<std::string>& args, size_t at) {
    bool help = false;
    while (at < args.size() && !flags_ended_) {
      TRY(TakeFlags(command, args, &at, &help));
      if (at < args.size() && !flags_ended_) values_.args.push_back(args[at++]);
    }
    values_.args.insert(values_.args.end(), args.begin() + static_cast<std::ptrdiff_t>(at),
                        args.end());
    return Ok();
  }

  Status TakeFlags(const Command& command, const std::vector<std::string>& args, size_t* at,
                   bool* help) {
    for (; *at < args.size(); ++*at) {
      const std::string& word = args[*at];
      if (word == "--") {
        ++*at;
        flags_ended_ = true;
        return Ok();
      }
      if (word.size() < 2 || word[0] != '-') return Ok();
      if (!IsCtr() && AreJoined(command, word)) {
        for (const char letter : word.substr(1))
          Give(*FindFlag(command.flags, {&letter, 1}), "true");
        continue;
      }
      std::string name = word.substr(word[1] == '-' ? 2 : 1);
      std::string value;
      const size_t equals = name.find('=');
      if (equals != std::string::npos) {
        value = name.substr(equals + 1);
        name.resize(equals);
      }
      const Flag* flag = FindFlag(command.flags, name);
      if (flag == nullptr) {
        if (name == "help" || name == "h") {
          *help = true;
          continue;
        }
        std::vector<std::string> names;
        for (const Flag& known : command.flags)
          names.insert(names.end(), known.names.begin(), known.names.end());
        const std::string nearest = IsCtr() ? "" : NearestName(name, names);
        return InvalidArgumentError(
            "flag provided but not defined: ", Dashed(name, IsCtr()),
            nearest.empty() ? "" : StrCat("; did you mean ", Dashed(nearest, false), "?"));
      }
      if (equals == std::string::npos) {
        if (flag->kind == FlagKind::kBool) {
          value = "true";
        } else if (*at + 1 < args.size()) {
          value = args[++*at];
        } else {
          return InvalidArgumentError("flag needs an argument: ", Dashed(name, IsCtr()));
        }
      }
      // `--time 5` is five seconds, as people are used to; Go's durations want a unit.
      if (flag->kind == FlagKind::kDuration && !IsCtr() && IsDigits(value)) value += "s";
      TRY(CheckValue(*flag, value, IsCtr()));
      Give(*flag, std::move(value));
    }
    return Ok();
  }

  // "-it": one letter for each of several booleans.
  static bool AreJoined(const Command& command, std::string_view word) {
    if (word.size() < 3 || word[1] == '-' || FindFlag(command.flags, word.substr(1)) != nullptr)
      return false;
    return std::all_of(word.begin() + 1, word.end(), [&](const char& letter) {
      const Flag* flag = FindFlag(command.flags, {&letter, 1});
      return flag != nullptr && flag->kind == FlagKind::kBool;
    });
  }

  void Give(const Flag& flag, std::string value) {
    Values::Value& slot = values_.values_[flag.names[0]];
    if (flag.kind != FlagKind::kList || !slot.given) slot.texts.clear();
    slot.texts.push_back(std::move(value));
    slot.given = true;
  }

  const Command& root_;
  Values values_;
  bool flags_ended_ = false;  // by `--`
};

bool Values::Declared(std::string_view name) const { return values_.contains(name); }
int Values::Help() const {
  help_();
  return 0;
}

const Values::Value& Values::Find(std::string_view name) const {
  const auto found = values_.find(name);
  CHECK(found != values_.end());
  return found->second;
}

bool Values::Has(std::string_view name) const { return Find(name).given; }
bool Values::Bool(std::string_view name) const {
  const std::string text = Text(name);
  return text == "true" || text == "1" || text == "t";
}
std::string Values::Text(std::string_view name) const {
  const Value& value = Find(name);
  return value.texts.empty() ? std::string() : value.texts.back();
}
int64_t Values::Int(std::string_view name) const { return strtoll(Text(name).c_str(), nullptr, 0); }
double Values::Float(std::string_view name) const { return strtod(Text(name).c_str(), nullptr); }
int64_t Values::Nanos(std::string_view name) const {
  const Result<int64_t> nanos = ParseDuration(Text(name));
  return nanos.ok() ? *nanos : 0;
}
std::vector<std::string> Values::List(std::string_view name) const { return Find(name).texts; }

int RunProgram(const Command& root, const std::vector<std::string>& args) {
  return Parser(root).Run(args);
}

Flag BoolFlag(std::vector<std::string> names, std::string help) {
  return {FlagKind::kBool, std::move(names), std::move(help), "false", "", false};
}
Flag TextFlag(std::vector<std::string> names, std::string help, std::string fallback,
              std::string env) {
  return {FlagKind::kString,   std::move(names), std::move(help),
          std::move(fallback), std::move(env),   false};
}
Flag IntFlag(std::vector<std::string> names, std::string help, std::string fallback) {
  return {FlagKind::kInt, std::move(names), std::move(help), std::move(fallback), "", false};
}
Flag UnsignedFlag(std::vector<std::string> names, std::string help, std::string fallback) {
  return {FlagKind::kUnsigned, std::move(names), std::move(help), std::move(fallback), "", false};
}
Flag FloatFlag(std::vector<std::string> names, std::string help) {
  return {FlagKind::kFloat, std::move(names), std::move(help), "0", "", false};
}
Flag DurationFlag(std::vector<std::string> names, std::string help, std::string fallback,
                  std::string env) {
  return {FlagKind::kDuration, std::move(names), std::move(help),
          std::move(fallback), std::move(env),   false};
}
Flag ListFlag(std::vector<std::string> names, std::string help) {
  return {FlagKind::kList, std::move(names), std::move(help), "", "", false};
}

}  // namespace corten::cli
