// JSON text set out over lines. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace corten::cli {

// The same text with each member on a line of its own: `front` and `step` per level stand before
// every line but the first. Nothing else is changed; what is no JSON comes out in some form.
std::string IndentJson(std::string_view text, std::string_view front, std::string_view step);

}  // namespace corten::cli
