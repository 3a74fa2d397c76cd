#include "base/binary_values.h"

#include <gtest/gtest.h>

#include "base/hash.h"

namespace corten {
namespace {

std::string Unhex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

TEST(BinaryValues, WritesTheBytesThatContainerdWrites) {
  EXPECT_EQ(Hex(EncodeVarint(4)), "08");
  EXPECT_EQ(Hex(EncodeVarint(350)), "bc05");
  EXPECT_EQ(Hex(EncodeVarint(1027944)), "d0bd7d");
  EXPECT_EQ(Hex(EncodeVarint(1998848)), "8080f401");
  EXPECT_EQ(Hex(EncodeTime(ParseRfc3339("2026-11-21T01:41:30.954663603Z").value())),
            "010000000ee292edca38e702b3ffff");
}

TEST(BinaryValues, ReadsWhatItWrites) {
  for (const int64_t value :
       {int64_t{0}, int64_t{-1}, int64_t{63}, int64_t{64}, int64_t{1} << 40, INT64_MAX, INT64_MIN})
    EXPECT_EQ(DecodeVarint(EncodeVarint(value)).value(), value);
  for (const uint64_t value : {uint64_t{0}, uint64_t{127}, uint64_t{128}, UINT64_MAX})
    EXPECT_EQ(DecodeUvarint(EncodeUvarint(value)).value(), value);
  for (const Time time : {kZeroTime, Time{0, 0}, Time{-5, 999999999}, Time{1795225290, 1},
                          Time{INT64_MAX, 0}, Time{INT64_MIN, 0}})
    EXPECT_EQ(DecodeTime(EncodeTime(time)).value(), time);
}

TEST(BinaryValues, TimesWithAZoneOfSecondsAreRead) {
  EXPECT_EQ(FormatRfc3339(DecodeTime(Unhex("020000000ee292edca38e702b3003c00")).value()),
            "2026-11-21T01:41:30.954663603Z");
}

TEST(BinaryValues, DamageIsAnError) {
  for (const char* hex : {"", "80", "ffff", "ffffffffffffffffff02", "ffffffffffffffffffff01"})
    EXPECT_TRUE(DecodeUvarint(Unhex(hex)).error().Is(Code::kDataLoss)) << hex;
  EXPECT_TRUE(DecodeVarint("\xff\xff").error().Is(Code::kDataLoss));
  for (const char* hex :
       {"", "01", "73686f7274", "030000000ee292edca38e702b3ffff", "010000000ee292edca7fffffffffff"})
    EXPECT_TRUE(DecodeTime(Unhex(hex)).error().Is(Code::kDataLoss)) << hex;
}

TEST(BinaryValues, NumbersAreTakenOneAfterTheOther) {
  std::string bytes = EncodeUvarint(300);
  AppendUvarint(bytes, 7);
  std::string_view rest = bytes;
  uint64_t value = 0;
  ASSERT_TRUE(TakeUvarint(&rest, &value));
  EXPECT_EQ(value, 300u);
  ASSERT_TRUE(TakeUvarint(&rest, &value));
  EXPECT_EQ(value, 7u);
  EXPECT_FALSE(TakeUvarint(&rest, &value));
}

}  // namespace
}  // namespace corten
