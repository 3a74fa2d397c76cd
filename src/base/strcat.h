// Small string building without a formatting library in headers.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace corten {

namespace detail {
inline void AppendPart(std::string& out, std::string_view part) { out.append(part); }
template <std::same_as<char> T>
void AppendPart(std::string& out, T part) {
  out.push_back(part);
}
template <std::same_as<bool> T>  // constrained, or a string literal would prefer bool to
                                 // string_view
void AppendPart(std::string& out, T part) {
  out.append(part ? "true" : "false");
}
template <std::integral T>
  requires(!std::same_as<T, char> && !std::same_as<T, bool>)
void AppendPart(std::string& out, T part) {
  char buffer[24];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), part);
  out.append(buffer, static_cast<size_t>(end.ptr - buffer));
}
}  // namespace detail

// Concatenates strings, characters, booleans and integers (decimal).
template <typename... A>
[[nodiscard]] std::string StrCat(const A&... parts) {
  std::string out;
  (detail::AppendPart(out, parts), ...);
  return out;
}

// `text` between double quotes, with Go's %q escapes for quotes, backslashes and control
// characters.
[[nodiscard]] std::string Quoted(std::string_view text);

// Lower-case hexadecimal of `bytes`.
[[nodiscard]] std::string Hex(std::string_view bytes);

// Decimal without sign or spaces; false if `text` is empty, has other characters or overflows.
[[nodiscard]] bool ParseU64(std::string_view text, uint64_t* value);

}  // namespace corten
