// The filter language of list and subscribe calls (metadata.md 8).
//
//   selector := path [ op value ] ( "," selector )*      terms are AND-ed; several expressions are
//   OR-ed op       := "==" | "!=" | "~="                       none: the field is present
//
// Immutable after Parse; any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::model {

// The value of a field of the object being tested; nullopt: it has none. Labels arrive as
// {"labels", KEY} where KEY may have been written quoted or as several fields: they are joined by
// "." again.
using FieldLookup = std::function<std::optional<std::string>(const std::vector<std::string>& path)>;

class Filter {
 public:
  // One or more expressions, OR-ed; an empty list or an empty expression matches everything.
  // kInvalidArgument with containerd's text: `filters: parse error: [before >|x|< after]: why`.
  static Result<Filter> Parse(const std::vector<std::string>& expressions);
  bool Matches(const FieldLookup& lookup) const;
  bool matches_all() const { return all_; }

  struct Selector;

 private:
  Filter() = default;
  bool all_ = false;
  std::vector<std::shared_ptr<const std::vector<Selector>>>
      expressions_;  // shared: filters are copied, never changed
};

// path {"labels", "a", "b/c"} -> the value of label "a.b/c".
template <typename Map>
std::optional<std::string> LookupLabel(const Map& labels, const std::vector<std::string>& path,
                                       size_t from = 1) {
  std::string key;
  for (size_t i = from; i < path.size(); ++i) key += (i > from ? "." : "") + path[i];
  const auto found = labels.find(key);
  if (found == labels.end()) return std::nullopt;
  return found->second;
}

}  // namespace corten::model
