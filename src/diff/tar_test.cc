#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstring>
#include <random>

#include "base/hash.h"
#include "base/strcat.h"
#include "diff/tar_fields.h"
#include "diff/tar_reader.h"
#include "diff/test_fixture.h"

namespace corten::diff {
namespace {

using testing::Archive;
using testing::EntryOf;
using testing::StringSink;

struct Member {
  TarEntry entry;
  std::string data;
};

Result<std::vector<Member>> ReadArchive(std::string_view bytes, size_t piece = SIZE_MAX) {
  MemoryChunks chunks(bytes, piece);
  TarReader reader(chunks);
  std::vector<Member> members;
  while (true) {
    const TarEntry* entry = TRY(reader.Next());
    if (entry == nullptr) break;
    Member member = {*entry, {}};
    while (true) {
      const TarReader::Piece run = TRY(reader.ReadPiece());
      if (run.bytes.empty()) break;
      member.data.resize(static_cast<size_t>(run.offset), '\0');
      member.data += run.bytes;
    }
    if (member.entry.has_data()) member.data.resize(static_cast<size_t>(member.entry.size), '\0');
    members.push_back(std::move(member));
  }
  TRY(reader.Drain());
  return members;
}

// A header block with the given fields set and the checksum right.
std::string RawHeader(std::string_view name, char type, std::string_view size,
                      std::string_view magic = std::string_view("ustar\00000", 8)) {
  std::string block(512, '\0');
  const auto put = [&block](size_t at, std::string_view text) {
    block.replace(at, text.size(), text);
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, size);
  put(136, "00000000000");
  block[156] = type;
  put(257, magic);
  return block;
}
std::string Sealed(std::string block) {
  char sum[8];
  std::snprintf(sum, sizeof(sum), "%06o",
                static_cast<unsigned>(tar::ComputeChecksums(block.data()).plain));
  block.replace(148, 7, std::string_view(sum, 7));
  block[155] = ' ';
  return block;
}
std::string Padded(std::string data) {
  data.resize((data.size() + 511) / 512 * 512, '\0');
  return data;
}
const std::string kEnd(1024, '\0');

TEST(TarReader, AnEmptySourceIsAnEmptyArchive) {
  EXPECT_TRUE(ReadArchive("")->empty());
  EXPECT_TRUE(ReadArchive(kEnd)->empty());
}

TEST(TarReader, PiecesOfAnySizeGiveTheSameEntries) {
  Archive archive;
  archive.Dir("d/")
      .File("d/one", std::string(1500, 'x'))
      .File("d/two", "")
      .Symlink("d/l", std::string(150, 't'));
  archive.File(std::string(200, 'n'), "long name").HardLink("d/three", "d/one");
  const std::string bytes = archive.Finish();
  const Result<std::vector<Member>> whole = ReadArchive(bytes);
  ASSERT_TRUE(whole.ok());
  ASSERT_EQ(whole->size(), 6u);
  for (const size_t piece : {1, 3, 511, 512, 513, 700, 4096}) {
    const Result<std::vector<Member>> split = ReadArchive(bytes, piece);
    ASSERT_TRUE(split.ok()) << piece;
    ASSERT_EQ(split->size(), whole->size());
    for (size_t i = 0; i < split->size(); ++i) {
      EXPECT_EQ((*split)[i].entry.name, (*whole)[i].entry.name);
      EXPECT_EQ((*split)[i].entry.link_name, (*whole)[i].entry.link_name);
      EXPECT_EQ((*split)[i].data, (*whole)[i].data);
    }
  }
}

TEST(TarReader, EveryCutIsAnErrorOrAnEarlierEndNeverMore) {
  Archive archive;
  archive.File("one", std::string(700, 'x')).File(std::string(120, 'n'), "two");
  const std::string bytes = archive.Finish();
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    const Result<std::vector<Member>> members = ReadArchive(std::string_view(bytes).substr(0, cut));
    if (members.ok()) {
      EXPECT_LE(members->size(), 2u) << cut;
      for (const Member& member : *members)
        EXPECT_EQ(member.data.size(), static_cast<size_t>(member.entry.size)) << cut;
    } else {
      EXPECT_EQ(members.error().code(), Code::kInvalidArgument) << cut;
    }
  }
}

TEST(TarReader, ADamagedHeaderIsRefused) {
  std::string bytes = Archive().File("name", "data").Finish();
  bytes[3] = static_cast<char>(bytes[3] ^ 1);
  const Result<std::vector<Member>> members = ReadArchive(bytes);
  ASSERT_FALSE(members.ok());
  EXPECT_EQ(members.error().text(), "archive: invalid tar header");
}

TEST(TarReader, OneZeroBlockBeforeOtherDataIsRefused) {
  const std::string bytes = std::string(512, '\0') + Archive().File("name").Finish();
  EXPECT_FALSE(ReadArchive(bytes).ok());
}

TEST(TarReader, Base256NumbersAreReadWithTheirSign) {
  std::string block = RawHeader("big", '0', "");
  block.replace(124, 12, std::string_view("\x80\0\0\0\0\0\0\0\0\0\0\x05", 12));
  block.replace(136, 12, std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12));
  block.replace(108, 8, std::string_view("\x80\0\0\0\x7f\xff\xff\xff", 8));
  const Result<std::vector<Member>> members = ReadArchive(Sealed(block) + Padded("hello") + kEnd);
  ASSERT_TRUE(members.ok()) << members.error().text();
  EXPECT_EQ(members->at(0).data, "hello");
  EXPECT_EQ(members->at(0).entry.mtime.seconds, -2);
  EXPECT_EQ(members->at(0).entry.uid, 0x7fffffff);
}

TEST(TarReader, NegativeAndOverflowingSizesAreRefused) {
  std::string negative = RawHeader("n", '0', "");
  negative.replace(124, 12, std::string(12, '\xff'));
  EXPECT_FALSE(ReadArchive(Sealed(negative)).ok());
  std::string huge = RawHeader("n", '0', "");
  huge.replace(124, 12, std::string_view("\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12));
  EXPECT_FALSE(ReadArchive(Sealed(huge)).ok());
}

TEST(TarReader, SignedChecksumsOfOldWritersAreAccepted) {
  std::string block = RawHeader("\xe4\xf6\xfc", '0', "00000000000");
  char sum[8];
  std::snprintf(sum, sizeof(sum), "%06o",
                static_cast<unsigned>(tar::ComputeChecksums(block.data()).with_sign));
  block.replace(148, 7, std::string_view(sum, 7));
  block[155] = ' ';
  const Result<std::vector<Member>> members = ReadArchive(block + kEnd);
  ASSERT_TRUE(members.ok());
  EXPECT_EQ(members->at(0).entry.name, "\xe4\xf6\xfc");
}

TEST(TarReader, V7DirectoriesAreKnownByTheirSlash) {
  const std::string bytes = Sealed(RawHeader("dir/", '\0', "00000000000", "")) +
                            Sealed(RawHeader("file", '\0', "00000000000", "")) + kEnd;
  const Result<std::vector<Member>> members = ReadArchive(bytes);
  ASSERT_TRUE(members.ok());
  EXPECT_EQ(members->at(0).entry.type, kDirectory);
  EXPECT_EQ(members->at(1).entry.type, kRegular);
}

TEST(TarReader, UstarPrefixIsPutInFront) {
  std::string block = RawHeader("name", '0', "00000000000");
  block.replace(345, 6, "prefix");
  EXPECT_EQ(ReadArchive(Sealed(block) + kEnd)->at(0).entry.name, "prefix/name");
}

TEST(TarReader, ExtensionHeadersHaveALimit) {
  char size[13];
  std::snprintf(size, sizeof(size), "%011o", static_cast<unsigned>(TarReader::kMaxExtension + 1));
  for (const char type : {'x', 'g', 'L', 'K'}) {
    const Result<std::vector<Member>> members =
        ReadArchive(Sealed(RawHeader("h", type, size)) +
                    std::string(TarReader::kMaxExtension + 512, 'a') + kEnd);
    ASSERT_FALSE(members.ok());
    EXPECT_EQ(members.error().code(), Code::kInvalidArgument);
  }
}

TEST(TarReader, DamagedPaxRecordsAreRefused) {
  for (const std::string record : {"5 a=\n", "99 path=x\n", "10 path=xy", "3 a", "12 path=x\0y\n",
                                   "9 =value\n", "x path=y\n", "-1 a=b\n"}) {
    const std::string bytes = Sealed(RawHeader("h", 'x', "00000000020")) + Padded(record) +
                              Sealed(RawHeader("f", '0', "00000000000")) + kEnd;
    EXPECT_FALSE(ReadArchive(bytes).ok()) << record;
  }
}

TEST(TarReader, GlobalHeadersAreEntriesOfTheirOwnAndChangeNothing) {
  const std::string record = "16 path=overall\n";
  std::string bytes = Sealed(RawHeader("g", 'g', "00000000020")) + Padded(record) +
                      Sealed(RawHeader("own", '0', "00000000000")) + kEnd;
  const Result<std::vector<Member>> members = ReadArchive(bytes);
  ASSERT_TRUE(members.ok()) << members.error().text();
  ASSERT_EQ(members->size(), 2u);
  EXPECT_EQ(members->at(0).entry.type, kPaxGlobal);
  EXPECT_EQ(members->at(0).entry.pax.at("path"), "overall");
  EXPECT_EQ(members->at(1).entry.name, "own");
}

TEST(TarReader, SparseMapsThatLieAreRefused) {
  const auto sparse = [](std::string_view map, std::string_view count, std::string_view size,
                         std::string data) {
    std::string records;
    for (const auto& [key, value] :
         std::map<std::string, std::string_view>{{"GNU.sparse.major", "0"},
                                                 {"GNU.sparse.minor", "1"},
                                                 {"GNU.sparse.map", map},
                                                 {"GNU.sparse.numblocks", count},
                                                 {"GNU.sparse.size", size}}) {
      records += tar::FormatPaxRecord(key, value);
    }
    char length[13];
    std::snprintf(length, sizeof(length), "%011o", static_cast<unsigned>(records.size()));
    char data_length[13];
    std::snprintf(data_length, sizeof(data_length), "%011o", static_cast<unsigned>(data.size()));
    return Sealed(RawHeader("x", 'x', length)) + Padded(records) +
           Sealed(RawHeader("f", '0', data_length)) + Padded(data) + kEnd;
  };
  const Result<std::vector<Member>> good = ReadArchive(sparse("2,3,10,1", "2", "20", "abcd"));
  ASSERT_TRUE(good.ok()) << good.error().text();
  EXPECT_EQ(good->at(0).data, std::string("\0\0abc\0\0\0\0\0d\0\0\0\0\0\0\0\0\0", 20));
  EXPECT_FALSE(ReadArchive(sparse("2,3,4,1", "2", "20", "abcd")).ok());    // overlap
  EXPECT_FALSE(ReadArchive(sparse("2,3,10,1", "2", "10", "abcd")).ok());   // beyond the end
  EXPECT_FALSE(ReadArchive(sparse("2,3,10,2", "2", "20", "abcd")).ok());   // more than there is
  EXPECT_FALSE(ReadArchive(sparse("2,3", "1", "20", "abcd")).ok());        // less than there is
  EXPECT_FALSE(ReadArchive(sparse("2,3,10,1", "3", "20", "abcd")).ok());   // wrong count
  EXPECT_FALSE(ReadArchive(sparse("2,-3,10,1", "2", "20", "abcd")).ok());  // negative
  EXPECT_FALSE(ReadArchive(sparse("2,9223372036854775807", "1", "9223372036854775807", "abcd"))
                   .ok());  // overflow
}

// GNU tar writes each sparse form; we must find the bytes of the file.
TEST(TarReader, EverySparseFormOfGnuTarIsRead) {
  const testing::TempTree tree;
  const std::string path = tree / "holes";
  std::string expected(6 << 20, '\0');
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  for (int i = 0; i < 60; ++i) {  // more than fit one header, and more than one continuation block
    const std::string data = StrCat("extent ", i, std::string(5000, 'x'));
    const auto offset = static_cast<size_t>(i) * 100000 + 4096;
    ASSERT_TRUE(PwriteAll(fd, data, offset, path).ok());
    expected.replace(offset, data.size(), data);
  }
  ASSERT_EQ(ftruncate(fd.get(), static_cast<off_t>(expected.size())), 0);
  const std::vector<std::vector<std::string>> forms = {{"--format=gnu"},
                                                       {"--format=posix", "--sparse-version=0.0"},
                                                       {"--format=posix", "--sparse-version=0.1"},
                                                       {"--format=posix", "--sparse-version=1.0"}};
  for (const std::vector<std::string>& form : forms) {
    std::vector<std::string> args = {"tar", "-C",           tree.path(), "-S",
                                     "-cf", tree / "a.tar", "holes"};
    args.insert(args.begin() + 1, form.begin(), form.end());
    testing::MustRun(args);
    const std::string bytes = testing::ReadFile(tree / "a.tar");
    ASSERT_LT(bytes.size(), expected.size() / 4) << "no holes were made: " << form.back();
    for (const size_t piece : {size_t{777}, SIZE_MAX}) {
      const Result<std::vector<Member>> members = ReadArchive(bytes, piece);
      ASSERT_TRUE(members.ok()) << form.back() << ": " << members.error().text();
      ASSERT_EQ(members->size(), 1u);
      EXPECT_EQ(members->at(0).entry.name, "holes") << form.back();
      EXPECT_TRUE(members->at(0).entry.sparse) << form.back();
      EXPECT_TRUE(members->at(0).data == expected) << form.back();
    }
  }
}

TEST(TarFields, PaxTimesKeepTheirSignAndNanoseconds) {
  for (const Time time : {Time{0, 0}, Time{1, 500000000}, Time{-1, 0}, Time{-2, 750000000},
                          Time{1600000000, 1}, Time{-1, 1}}) {
    EXPECT_EQ(tar::ParsePaxTime(tar::FormatPaxTime(time)), time) << tar::FormatPaxTime(time);
  }
  EXPECT_EQ(tar::FormatPaxTime({-2, 750000000}), "-1.25");
  EXPECT_EQ(tar::ParsePaxTime("1.1234567899"), (Time{1, 123456789}));
  EXPECT_EQ(tar::ParsePaxTime("1.x"), std::nullopt);
  EXPECT_EQ(tar::ParsePaxTime(""), std::nullopt);
}

TEST(TarFields, PaxRecordsCountTheirOwnLength) {
  for (size_t n = 0; n < 1200; ++n) {
    const std::string record = tar::FormatPaxRecord("k", std::string(n, 'v'));
    EXPECT_EQ(std::stoul(record), record.size());
    EXPECT_TRUE(tar::ParsePax(record).ok()) << n;
  }
}

TEST(TarWriter, RefusesWhatItCannotSay) {
  StringSink sink;
  TarWriter writer(sink);
  EXPECT_FALSE(writer.WriteHeader(EntryOf(kRegular, std::string("a\0b", 3), 0644)).ok());
  TarEntry entry = EntryOf(kRegular, "short", 0644);
  entry.size = 4;
  ASSERT_TRUE(writer.WriteHeader(entry).ok());
  ASSERT_TRUE(writer.WriteData("abc").ok());
  EXPECT_FALSE(writer.WriteData("de").ok());
  EXPECT_FALSE(writer.Finish().ok());
}

// The digest is that of the same members written by Go 1.26's archive/tar in its PAX format, which
// is how containerd writes layers: equal trees must give equal layers.
TEST(TarWriter, WritesTheBytesThatGoWrites) {
  StringSink sink;
  TarWriter writer(sink);
  const auto put = [&writer](TarEntry entry, std::string_view data = {}) {
    if (entry.mtime == Time{}) entry.mtime = {1600000000, 0};
    entry.size = static_cast<int64_t>(data.size());
    ASSERT_TRUE(writer.WriteHeader(entry).ok());
    ASSERT_TRUE(writer.WriteData(data).ok());
  };
  const auto entry = [](char type, std::string name, int64_t mode) {
    TarEntry made;
    made.type = type;
    made.name = std::move(name);
    made.mode = mode;
    return made;
  };
  put(entry(kDirectory, "dir/", 0755));
  TarEntry plain = entry(kRegular, "dir/plain", 04755);
  plain.uid = plain.gid = 1000;
  put(plain, "content");
  put(entry(kRegular, std::string(90, 'd') + "/" + std::string(90, 'f'), 0644), "prefix");
  put(entry(kDirectory, std::string(90, 'd') + "/" + std::string(90, 'e') + "/", 0755));
  put(entry(kRegular, "x/" + std::string(120, 'f'), 0644));
  TarEntry far = entry(kRegular, "dir/\xc3\xa4", 0644);
  far.uid = 3000000;
  far.gid = 4000000000;
  put(far);
  TarEntry old = entry(kRegular, "old", 0644);
  old.mtime = {-5, 0};
  put(old);
  TarEntry link = entry(kSymlink, "link", 0777);
  link.link_name = std::string(130, 't');
  put(link);
  TarEntry capability = entry(kRegular, "cap", 0755);
  capability.pax["SCHILY.xattr.security.capability"] = std::string("\x01\0\0\x02", 4);
  put(capability);
  TarEntry device = entry(kBlockDevice, "dev", 0660);
  device.dev_major = 259;
  device.dev_minor = 70000;
  put(device);
  ASSERT_TRUE(writer.Finish().ok());
  EXPECT_EQ(Sha256Digest(sink.data),
            "sha256:cc0aad26d3ba4465faf1088ab896e39a2c92c25e1278bae194bb26eaa0b158ff");
}

// --- the oracle
// -----------------------------------------------------------------------------------------------------

TarEntry RandomEntry(std::mt19937_64& random, int i) {
  static constexpr char kTypes[] = {kRegular, kRegular,    kRegular,     kSymlink, kDirectory,
                                    kFifo,    kCharDevice, kBlockDevice, kHardLink};
  TarEntry entry;
  entry.type = kTypes[random() % std::size(kTypes)];
  entry.name = StrCat("dir", random() % 5, "/", std::string(random() % 200, 'a'),
                      random() % 4 == 0 ? "/\xc3\xa4" : "/", "f", i);
  if (entry.type == kDirectory) entry.name += '/';
  if (entry.type == kSymlink || entry.type == kHardLink)
    entry.link_name = StrCat("target", std::string(random() % 150, 'b'), i);
  entry.mode = static_cast<int64_t>(random() % 010000);
  entry.uid = static_cast<int64_t>(random() % 3 == 0 ? 4000000000u : random() % 70000);
  entry.gid = static_cast<int64_t>(random() % 3 == 0 ? 4000000000u : random() % 70000);
  entry.mtime = {static_cast<int64_t>(random() % 4000000000u),
                 random() % 2 == 0 ? 0 : static_cast<int32_t>(random() % 1000000000)};
  if (entry.type == kCharDevice || entry.type == kBlockDevice) {
    entry.dev_major = static_cast<int64_t>(random() % 256);
    entry.dev_minor = static_cast<int64_t>(random() % 256);
  }
  if (entry.type == kRegular && random() % 4 == 0)
    entry.pax["SCHILY.xattr.user.k"] = std::string("v\0\n=", 4) + StrCat(random());
  return entry;
}

TEST(TarOracle, LibarchiveReadsWhatWeWrite) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"),
            nullptr);  // libarchive converts names to the locale
  std::mt19937_64 random(20260101);
  StringSink sink;
  TarWriter writer(sink);
  std::vector<Member> written;
  for (int i = 0; i < 500; ++i) {
    Member member = {RandomEntry(random, i), {}};
    if (member.entry.type == kRegular)
      member.data = std::string(random() % 2000, static_cast<char>('a' + i % 26));
    member.entry.size = static_cast<int64_t>(member.data.size());
    ASSERT_TRUE(writer.WriteHeader(member.entry).ok());
    ASSERT_TRUE(member.data.empty() || writer.WriteData(member.data).ok());
    written.push_back(std::move(member));
  }
  ASSERT_TRUE(writer.Finish().ok());
  archive* in = archive_read_new();
  archive_read_support_format_tar(in);
  ASSERT_EQ(archive_read_open_memory(in, sink.data.data(), sink.data.size()), ARCHIVE_OK);
  for (const Member& member : written) {
    archive_entry* found = nullptr;
    ASSERT_EQ(archive_read_next_header(in, &found), ARCHIVE_OK) << archive_error_string(in);
    const TarEntry& entry = member.entry;
    EXPECT_EQ(archive_entry_pathname(found), entry.name);
    EXPECT_EQ(archive_entry_uid(found), entry.uid);
    EXPECT_EQ(archive_entry_gid(found), entry.gid);
    EXPECT_EQ(archive_entry_mtime(found), entry.mtime.seconds);
    EXPECT_EQ(archive_entry_mtime_nsec(found), entry.mtime.nanos);
    EXPECT_EQ(archive_entry_perm(found), static_cast<mode_t>(entry.mode));
    if (entry.type == kSymlink) {
      EXPECT_EQ(archive_entry_symlink(found), entry.link_name);
    }
    if (entry.type == kHardLink) {
      EXPECT_EQ(archive_entry_hardlink(found), entry.link_name);
    }
    if (entry.type == kCharDevice) {
      EXPECT_EQ(archive_entry_rdevminor(found), static_cast<dev_t>(entry.dev_minor));
    }
    if (entry.type != kRegular) continue;
    EXPECT_EQ(archive_entry_xattr_count(found), static_cast<int>(entry.pax.size()));
    std::string data(static_cast<size_t>(archive_entry_size(found)), '\0');
    EXPECT_EQ(archive_read_data(in, data.data(), data.size()),
              static_cast<la_ssize_t>(data.size()));
    EXPECT_EQ(data, member.data);
  }
  archive_entry* none = nullptr;
  EXPECT_EQ(archive_read_next_header(in, &none), ARCHIVE_EOF);
  archive_read_free(in);
}

std::string WriteWithLibarchive(const std::vector<Member>& members, int format) {
  std::string bytes(64 << 20, '\0');
  size_t used = 0;
  archive* out = archive_write_new();
  archive_write_set_format(out, format);
  EXPECT_EQ(archive_write_open_memory(out, bytes.data(), bytes.size(), &used), ARCHIVE_OK);
  for (const Member& member : members) {
    const TarEntry& entry = member.entry;
    archive_entry* made = archive_entry_new();
    archive_entry_set_pathname(made, entry.name.c_str());
    const mode_t type = entry.type == kDirectory     ? AE_IFDIR
                        : entry.type == kSymlink     ? AE_IFLNK
                        : entry.type == kFifo        ? AE_IFIFO
                        : entry.type == kCharDevice  ? AE_IFCHR
                        : entry.type == kBlockDevice ? AE_IFBLK
                                                     : AE_IFREG;
    archive_entry_set_filetype(made, type);
    archive_entry_set_perm(made, static_cast<mode_t>(entry.mode));
    archive_entry_set_uid(made, entry.uid);
    archive_entry_set_gid(made, entry.gid);
    archive_entry_set_mtime(made, entry.mtime.seconds, entry.mtime.nanos);
    archive_entry_set_size(made, static_cast<int64_t>(member.data.size()));
    if (entry.type == kSymlink) archive_entry_set_symlink(made, entry.link_name.c_str());
    if (entry.type == kHardLink) archive_entry_set_hardlink(made, entry.link_name.c_str());
    archive_entry_set_rdevmajor(made, static_cast<dev_t>(entry.dev_major));
    archive_entry_set_rdevminor(made, static_cast<dev_t>(entry.dev_minor));
    for (const auto& [key, value] : entry.pax)
      archive_entry_xattr_add_entry(made, key.substr(kPaxXattrPrefix.size()).c_str(), value.data(),
                                    value.size());
    EXPECT_GE(archive_write_header(out, made), ARCHIVE_WARN)
        << archive_error_string(out) << " " << entry.name;
    if (!member.data.empty()) {
      EXPECT_EQ(archive_write_data(out, member.data.data(), member.data.size()),
                static_cast<la_ssize_t>(member.data.size()));
    }
    archive_entry_free(made);
  }
  archive_write_close(out);
  archive_write_free(out);
  bytes.resize(used);
  return bytes;
}

TEST(TarOracle, WeReadWhatLibarchiveWritesInEachFormat) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr);
  for (const int format :
       {ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FORMAT_TAR_USTAR}) {
    std::mt19937_64 random(static_cast<uint64_t>(format));
    const bool pax = format == ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE;
    const bool ustar = format == ARCHIVE_FORMAT_TAR_USTAR;
    std::vector<Member> members;
    for (int i = 0; i < 400; ++i) {
      Member member = {RandomEntry(random, i), {}};
      if (!pax) {
        member.entry.mtime.nanos = 0;
        member.entry.pax.clear();
      }
      if (ustar) {  // has room for less
        member.entry.name = StrCat("short/f", i, member.entry.type == kDirectory ? "/" : "");
        if (!member.entry.link_name.empty()) member.entry.link_name = "target";
        member.entry.uid %= 200000;
        member.entry.gid %= 200000;
      }
      if (member.entry.type == kRegular) member.data = std::string(random() % 2000, 'd');
      members.push_back(std::move(member));
    }
    const Result<std::vector<Member>> read =
        ReadArchive(WriteWithLibarchive(members, format), 1000);
    ASSERT_TRUE(read.ok()) << format << ": " << read.error().text();
    ASSERT_EQ(read->size(), members.size());
    for (size_t i = 0; i < members.size(); ++i) {
      const TarEntry& want = members[i].entry;
      const TarEntry& have = read->at(i).entry;
      EXPECT_EQ(have.type, want.type);
      EXPECT_EQ(have.name, want.name);
      EXPECT_EQ(have.link_name, want.link_name);
      EXPECT_EQ(have.uid, want.uid);
      EXPECT_EQ(have.gid, want.gid);
      EXPECT_EQ(have.mode, want.mode);
      EXPECT_EQ(have.mtime, want.mtime);
      EXPECT_EQ(have.dev_major, want.dev_major);
      EXPECT_EQ(read->at(i).data, members[i].data);
      if (!want.pax.empty()) {
        EXPECT_EQ(have.pax.at("SCHILY.xattr.user.k"), want.pax.at("SCHILY.xattr.user.k"));
      }
    }
  }
}

TEST(TarRoundTrip, EveryFieldSurvives) {
  std::mt19937_64 random(7);
  StringSink sink;
  TarWriter writer(sink);
  std::vector<TarEntry> entries;
  for (int i = 0; i < 2000; ++i) {
    TarEntry entry = RandomEntry(random, i);
    if (random() % 5 == 0) entry.mtime.seconds = -entry.mtime.seconds;
    if (random() % 5 == 0) entry.atime = Time{5, 7};
    if (random() % 5 == 0) entry.user_name = "n\xc3\xa4me";
    ASSERT_TRUE(writer.WriteHeader(entry).ok());
    entries.push_back(std::move(entry));
  }
  ASSERT_TRUE(writer.Finish().ok());
  const Result<std::vector<Member>> members = ReadArchive(sink.data);
  ASSERT_TRUE(members.ok());
  ASSERT_EQ(members->size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const TarEntry& want = entries[i];
    const TarEntry& have = members->at(i).entry;
    EXPECT_EQ(have.name, want.name);
    EXPECT_EQ(have.link_name, want.link_name);
    EXPECT_EQ(have.mtime, want.mtime);
    EXPECT_EQ(have.atime, want.atime);
    EXPECT_EQ(have.uid, want.uid);
    EXPECT_EQ(have.gid, want.gid);
    EXPECT_EQ(have.mode, want.mode);
    EXPECT_EQ(have.user_name, want.user_name);
  }
}

}  // namespace
}  // namespace corten::diff
