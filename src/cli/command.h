// Verbs as data: a tree of commands with flags, parsed the way containerd's own CLI parses (its
// scripts depend on it).
//
// Rules: flags stand before the positional arguments of their own command; one or two dashes, `-f
// v`, `-f=v`, booleans
// `-f` or `-f=false`; `--` ends the flags. Only `corten` joins short booleans (`-it`) and takes a
// duration without a unit as seconds. An environment variable gives a flag its value when it is not
// on the line. A command group called alone prints its help (exit 0); an unknown word prints "No
// help topic for 'x'" (exit 3). One thread. Source: behaviour of ctr 2.3 (ctr.md 0).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::cli {

enum class FlagKind { kBool, kString, kInt, kUnsigned, kFloat, kDuration, kList };

struct Flag {
  FlagKind kind = FlagKind::kString;
  std::vector<std::string> names;  // the first is the one others are found by: {"quiet", "q"}
  std::string help;
  std::string fallback;  // text of the default value; shown by help
  std::string env;       // environment variable; empty: none
  bool hidden = false;
};

// The parsed values of one command and of those above it.
class Values {
 public:
  bool Declared(std::string_view name) const;  // the command, or one above it, has such a flag
  bool Has(std::string_view name) const;       // given on the line or by the environment
  bool Bool(std::string_view name) const;
  std::string Text(std::string_view name) const;  // REQUIRES: a declared flag, as for all of these
  int64_t Int(std::string_view name) const;
  double Float(std::string_view name) const;
  int64_t Nanos(std::string_view name) const;
  std::vector<std::string> List(std::string_view name) const;

  std::vector<std::string> args;  // positional arguments
  // Prints the help of the command that runs, for a call that lacks its arguments. Returns 0, as an
  // action does.
  int Help() const;
  std::string Arg(size_t i) const { return i < args.size() ? args[i] : std::string(); }

 private:
  friend class Parser;
  struct Value {
    FlagKind kind;
    std::vector<std::string> texts;
    bool given = false;
  };
  const Value& Find(std::string_view name) const;
  std::function<void()> help_;
  std::map<std::string, Value, std::less<>> values_;
};

struct Command;
// Exit code, or an error that is printed as `PROGRAM: text` (exit 1).
using Action = std::function<Result<int>(const Values& values)>;

struct Command {
  std::vector<std::string> names;  // {"containers", "c", "container"}
  std::string summary;
  std::string arguments;  // "[flags] IMAGE [TARGET]"
  std::string description;
  std::vector<Flag> flags;
  std::vector<Command> commands;
  Action action;                // empty: a group
  bool flags_anywhere = false;  // also behind and between the arguments; `--` ends them
};

// Parses and runs. `root` is the program: its names[0] prefixes errors. Returns the exit code.
int RunProgram(const Command& root, const std::vector<std::string>& args);

// Shorthands for tables of flags.
Flag BoolFlag(std::vector<std::string> names, std::string help);
Flag TextFlag(std::vector<std::string> names, std::string help, std::string fallback = "",
              std::string env = "");
Flag IntFlag(std::vector<std::string> names, std::string help, std::string fallback = "0");
Flag UnsignedFlag(std::vector<std::string> names, std::string help, std::string fallback = "0");
Flag FloatFlag(std::vector<std::string> names, std::string help);
Flag DurationFlag(std::vector<std::string> names, std::string help, std::string fallback = "0s",
                  std::string env = "");
Flag ListFlag(std::vector<std::string> names, std::string help);

}  // namespace corten::cli
