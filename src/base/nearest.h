// "Did you mean ...?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace corten {

// The candidate that is closest to `word` (edit distance at most a third of its length), or "".
std::string NearestName(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace corten
