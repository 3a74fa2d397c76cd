// The fields of tar headers: offsets, numbers, strings, checksums, pax records and times. Pure
// functions; any thread. Source: POSIX.1-2001 pax(1), GNU tar manual (tar internals), star(5).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace corten::diff::tar {

inline constexpr size_t kBlock = 512;

struct Field {
  size_t offset;
  size_t size;
};
inline constexpr Field kName{0, 100};
inline constexpr Field kMode{100, 8};
inline constexpr Field kUid{108, 8};
inline constexpr Field kGid{116, 8};
inline constexpr Field kSize{124, 12};
inline constexpr Field kMtime{136, 12};
inline constexpr Field kChecksum{148, 8};
inline constexpr size_t kType = 156;
inline constexpr Field kLinkName{157, 100};
inline constexpr Field kMagic{257, 6};
inline constexpr Field kVersion{263, 2};
inline constexpr Field kUserName{265, 32};
inline constexpr Field kGroupName{297, 32};
inline constexpr Field kDevMajor{329, 8};
inline constexpr Field kDevMinor{337, 8};
inline constexpr Field kPrefix{345, 155};  // ustar
inline constexpr Field kGnuAtime{345, 12};
inline constexpr Field kGnuCtime{357, 12};
inline constexpr size_t kGnuSparse = 386;  // 4 extents of 24 bytes, then the flag "more follow"
inline constexpr size_t kGnuSparseCount = 4;
inline constexpr size_t kGnuExtended = 482;
inline constexpr Field kGnuRealSize{483, 12};
inline constexpr size_t kGnuMoreCount = 21;  // extents of a continuation block, flag at 504
inline constexpr size_t kGnuMoreExtended = 504;
inline constexpr Field kStarPrefix{345, 131};
inline constexpr Field kStarAtime{476, 12};
inline constexpr Field kStarCtime{488, 12};
inline constexpr Field kStarTrailer{508, 4};

inline std::string_view Raw(const char* block, Field field) {
  return {block + field.offset, field.size};
}
// Up to the first NUL.
inline std::string_view Text(std::string_view raw) { return raw.substr(0, raw.find('\0')); }

// Octal with leading and trailing spaces and NULs, or base 256. nullopt: neither.
std::optional<int64_t> ParseNumber(std::string_view raw);
std::optional<int64_t> ParseOctal(std::string_view raw);
// Decimal with an optional sign, whole text. nullopt: not one, or too big.
std::optional<int64_t> ParseDecimal(std::string_view text);
// "seconds[.fraction]", negative too; digits beyond nanoseconds are dropped.
std::optional<Time> ParsePaxTime(std::string_view text);
std::string FormatPaxTime(Time time);

bool IsZeroBlock(const char* block);
// The sums over the block with spaces for the checksum field: bytes as unsigned, and as signed as
// some old writers did.
struct Checksums {
  int64_t plain = 0;
  int64_t with_sign = 0;
};
Checksums ComputeChecksums(const char* block);

using PaxRecords = std::map<std::string, std::string, std::less<>>;
// The records of an extension header. The repeated records of sparse format 0.0 are joined into
// "GNU.sparse.map".
Result<PaxRecords> ParsePax(std::string_view data);
// "LENGTH key=value\n".
std::string FormatPaxRecord(std::string_view key, std::string_view value);
// What readers accept: key without '=' and NUL and not empty; no NUL in the values of names.
bool ValidPaxRecord(std::string_view key, std::string_view value);

}  // namespace corten::diff::tar
