// Reading JSON in place: no tree, no allocation, bounded depth.
//
// The shim wants a dozen values out of texts that others wrote (config.json, log.json, `ps`
// output). Parse checks the whole text once; a view then points into it and finds members by
// scanning. Views die with the text. Threads: values. Source: RFC 8259; of duplicate names the last
// one counts, as in Go.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::shim {

class JsonView {
 public:
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  // kInvalidArgument with the byte offset: not one JSON value, or nested deeper than 64.
  static Result<JsonView> Parse(std::string_view text);

  Kind kind() const;
  // The text of this value, e.g. to pass it on.
  std::string_view text() const { return text_; }

  // A member of an object; nullopt if this is no object or has no such member.
  std::optional<JsonView> Find(std::string_view name) const;
  // Find along a path of names.
  template <typename... Names>
  std::optional<JsonView> Find(std::string_view name, Names... rest) const {
    const std::optional<JsonView> next = Find(name);
    return next.has_value() ? next->Find(rest...) : std::nullopt;
  }
  // Elements of an array in order, until `visit` returns false. Nothing for other kinds.
  void ForEach(const std::function<bool(const JsonView& element)>& visit) const;
  // Members of an object in order, names with their escapes undone, until `visit` returns false.
  // Of duplicate names all are visited. Nothing for other kinds.
  void ForEachMember(
      const std::function<bool(const std::string& name, const JsonView& value)>& visit) const;

  std::optional<std::string> String() const;  // escapes undone; nullopt if no string
  std::optional<bool> Bool() const;
  std::optional<int64_t> Integer() const;  // nullopt if no number, not whole, or out of range

  // Find(path...) and String(), or "".
  template <typename... Names>
  std::string StringAt(Names... path) const {
    const std::optional<JsonView> found = Find(path...);
    return found.has_value() ? found->String().value_or("") : "";
  }

 private:
  explicit JsonView(std::string_view text) : text_(text) {}
  std::string_view text_;  // exactly this value, without surrounding space
};

}  // namespace corten::shim
