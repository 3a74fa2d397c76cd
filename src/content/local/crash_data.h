// Bytes that the crash journey and the test that judges it agree on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace corten::content {

inline constexpr size_t kLargeCrashData = 2'500'000;  // bytes; more than a store keeps aside

inline std::string CrashData(size_t size, uint32_t seed) {
  std::string data(size, '\0');
  uint64_t state = seed;
  for (char& c : data) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    c = static_cast<char>(state >> 56);
  }
  return data;
}

}  // namespace corten::content
