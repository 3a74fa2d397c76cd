// What a plugin lets an administrator set: named fields bound to the members of its config struct.
//
// One table serves reading (types are checked, unknown keys are named), printing defaults and
// dumping what is in force. A table refers into the struct it was built from, which must outlive
// it. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace corten::plugin {

// A duration setting: Go's text form in the file, nanoseconds here.
struct Duration {
  int64_t nanos = 0;
};

class ConfigTable {
 public:
  using Binding =
      std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*, Duration*>;
  using Value = std::variant<bool, int64_t, double, std::string, std::vector<std::string>>;
  struct Field {
    std::string name;
    Binding binding;
  };

  ConfigTable& Add(std::string name, Binding binding) {
    fields_.push_back({std::move(name), binding});
    return *this;
  }
  const std::vector<Field>& fields() const { return fields_; }

  // kNotFound: no such field (the text names the nearest one); kInvalidArgument: wrong type or
  // unreadable duration.
  Status Set(std::string_view name, const Value& value);
  // The present value in the form that the file has: durations as text.
  static Value Get(const Field& field);

 private:
  std::vector<Field> fields_;
};

}  // namespace corten::plugin
