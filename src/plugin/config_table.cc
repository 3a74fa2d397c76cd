#include "plugin/config_table.h"

#include <algorithm>

#include "base/clock.h"
#include "base/nearest.h"

namespace corten::plugin {

namespace {

std::string_view TypeName(const ConfigTable::Binding& binding) {
  static constexpr std::string_view kNames[] = {"true or false",     "an integer",
                                                "a number",          "a string",
                                                "a list of strings", "a duration such as '10s'"};
  return kNames[binding.index()];
}

// Sets the bound member; false if the types differ.
struct Setter {
  const ConfigTable::Value& value;
  template <typename T>
  Result<bool> Assign(T* target) const {
    if (!std::holds_alternative<T>(value)) return false;
    *target = std::get<T>(value);
    return true;
  }
  Result<bool> operator()(bool* target) const { return Assign(target); }
  Result<bool> operator()(int64_t* target) const { return Assign(target); }
  Result<bool> operator()(std::string* target) const { return Assign(target); }
  Result<bool> operator()(std::vector<std::string>* target) const { return Assign(target); }
  Result<bool> operator()(double* target) const {
    if (std::holds_alternative<int64_t>(value)) {
      *target = static_cast<double>(std::get<int64_t>(value));
      return true;
    }
    return Assign(target);
  }
  Result<bool> operator()(Duration* target) const {
    if (!std::holds_alternative<std::string>(value)) return false;
    target->nanos = TRY(ParseDuration(std::get<std::string>(value)));
    return true;
  }
};

}  // namespace

Status ConfigTable::Set(std::string_view name, const Value& value) {
  const auto found = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const Field& field) { return field.name == name; });
  if (found == fields_.end()) {
    std::vector<std::string> names;
    for (const Field& field : fields_) names.push_back(field.name);
    const std::string nearest = NearestName(name, names);
    return NotFoundError("unknown key ", Quoted(name),
                         nearest.empty() ? "" : StrCat(", did you mean ", Quoted(nearest), "?"));
  }
  const bool fits =
      TRY(std::visit(Setter{value}, found->binding).Context(StrCat("key ", Quoted(name))));
  if (!fits) return InvalidArgumentError("key ", Quoted(name), ": want ", TypeName(found->binding));
  return Ok();
}

ConfigTable::Value ConfigTable::Get(const Field& field) {
  return std::visit(
      [](auto* target) -> Value {
        if constexpr (std::is_same_v<decltype(target), Duration*>) {
          return FormatDuration(target->nanos);
        } else {
          return *target;
        }
      },
      field.binding);
}

}  // namespace corten::plugin
