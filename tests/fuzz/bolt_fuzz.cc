// Any bytes as a bolt file: opened, walked, read, written. No crash, no hang, no read outside the
// file; and a file that the full check calls sound is still sound after writing.
//
// Input: byte 0 chooses how the rest becomes a file. Even: the rest is the file, its page numbers
// and one meta page are put right so that the interesting parts are reached. Odd: a small database
// made from a seed, changed at the offsets that the rest names.
#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/strcat.h"
#include "bolt/check.h"
#include "bolt/db.h"
#include "bolt/page.h"

namespace corten::bolt {
namespace {

constexpr uint32_t kPageSize = 1024;
constexpr size_t kMaxInput = size_t{64} << 10;
constexpr size_t kCapacity = size_t{2} << 20;

alignas(4096) char g_memory[kCapacity];

// A file in memory. What lies behind its end is poisoned, so a read there is found.
class MemoryFile final : public File, public Mapping {
 public:
  explicit MemoryFile(std::string_view content) {
    SetSize(content.size());
    std::memcpy(g_memory, content.data(), content.size());
  }
  ~MemoryFile() override { ASAN_UNPOISON_MEMORY_REGION(g_memory, kCapacity); }

  const std::string& name() const override { return name_; }
  const char* data() const override { return g_memory; }
  size_t size() const override { return kCapacity; }
  Result<uint64_t> Size() override { return size_; }
  Result<size_t> Read(uint64_t offset, std::span<char> out) override {
    if (offset >= size_) return size_t{0};
    const size_t count = std::min<size_t>(out.size(), size_ - offset);
    std::memcpy(out.data(), g_memory + offset, count);
    return count;
  }
  Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    for (const std::string_view part : parts) {
      if (offset + part.size() > size_) __builtin_trap();  // the engine grows the file first
      std::memcpy(g_memory + offset, part.data(), part.size());
      offset += part.size();
    }
    return Ok();
  }
  Status DataSync() override { return Ok(); }
  Status Sync() override { return Ok(); }
  Status Resize(uint64_t size) override {
    if (size > kCapacity) return ErrnoError(ENOSPC, name_);
    SetSize(size);
    return Ok();
  }
  Result<std::shared_ptr<const Mapping>> Map(size_t size) override {
    if (size > kCapacity) return ErrnoError(ENOMEM, name_);
    return std::shared_ptr<const Mapping>(std::shared_ptr<void>(),
                                          this);  // lives as long as the Db
  }

 private:
  void SetSize(uint64_t size) {
    ASAN_UNPOISON_MEMORY_REGION(g_memory, kCapacity);
    if (size > size_) std::memset(g_memory + size_, 0, size - size_);
    size_ = size;
    ASAN_POISON_MEMORY_REGION(g_memory + size_, kCapacity - size_);
  }
  std::string name_ = "fuzz.db";
  uint64_t size_ = 0;
};

Options FuzzOptions() {
  Options options;
  options.page_size = kPageSize;
  options.no_sync = true;
  return options;
}

Status SomeSteps(Tx& tx, std::mt19937& random) {
  for (int i = 0; i < 20; ++i) {
    Bucket bucket = TRY(tx.CreateBucketIfNotExists(StrCat("b", random() % 3)));
    if (random() % 2 == 0) bucket = TRY(bucket.CreateBucketIfNotExists(StrCat("s", random() % 5)));
    const std::string key = StrCat("k", random() % 50);
    switch (random() % 8) {
      case 0:
        TRY(bucket.Delete(key));
        break;
      case 1: {
        const Status ignored = bucket.DeleteBucket(StrCat("s", random() % 5));  // may not be there
        if (!ignored.ok() && ignored.error().Is(Code::kDataLoss)) return ignored.error().Clone();
        break;
      }
      default:
        TRY(bucket.Put(key, std::string(random() % 200, 'v')));
    }
  }
  return Ok();
}

std::string SmallDatabase(uint32_t seed) {
  std::mt19937 random(seed);
  std::string content;
  auto file = std::make_unique<MemoryFile>("");
  MemoryFile* const memory = file.get();
  const auto db = Db::OpenOn(std::move(file), FuzzOptions());
  for (int i = 0; i < 8; ++i) {
    if (!(*db)->Update([&](Tx& tx) { return SomeSteps(tx, random); }).ok()) __builtin_trap();
  }
  content.resize(*memory->Size());
  if (!memory->Read(0, content).ok()) __builtin_trap();
  return content;
}

// The rest as the file itself.
std::string FromBytes(std::string_view rest) {
  std::string content(rest.substr(0, kMaxInput));
  content.resize(std::max<size_t>((content.size() + kPageSize - 1) / kPageSize, 4) * kPageSize);
  const uint64_t pages = content.size() / kPageSize;
  for (uint64_t id = 2; id < pages; ++id) StoreInt<uint64_t>(content.data() + id * kPageSize, id);
  const auto head = static_cast<unsigned char>(content[0]);
  const Meta meta{.page_size = kPageSize,
                  .root_page = 2 + head % (pages - 2),
                  .root_sequence = 0,
                  .free_list = head % 2 == 0 ? kNoFreeList : 2 + head / 2 % (pages - 2),
                  .high_water = pages,
                  .txid = 7};
  content.replace(kPageSize, kPageSize, EncodeMetaPage(meta));
  return content;
}

// The rest as changes (offset u16, byte) of a sound database.
std::string FromChanges(unsigned seed, std::string_view rest) {
  static const std::array<std::string, 4> databases{SmallDatabase(1), SmallDatabase(2),
                                                    SmallDatabase(3), SmallDatabase(4)};
  std::string content = databases[seed % databases.size()];
  for (; rest.size() >= 3; rest.remove_prefix(3)) {
    content[LoadInt<uint16_t>(rest.data()) % content.size()] = rest[2];
  }
  return content;
}

// Bounded by what it meets.
Status ReadAll(const Bucket& bucket, int depth, int* budget) {
  Cursor cursor = bucket.NewCursor();
  for (std::optional<Entry> e = TRY(cursor.First()); e && --*budget > 0; e = TRY(cursor.Next())) {
    if (!e->is_bucket || depth == 0) continue;
    const std::optional<Bucket> child = TRY(bucket.FindBucket(e->key));
    if (child) TRY(ReadAll(*child, depth - 1, budget));
  }
  for (std::optional<Entry> e = TRY(cursor.Last()); e && --*budget > 0; e = TRY(cursor.Prev())) {
  }
  return Ok();
}

struct Soundness {
  bool all;
  bool but_meta;  // whatever stands in the headers of the meta pages
};
Soundness Judge(Db& db) {
  CheckReport report;
  const Status status = db.View([&](const Tx& tx) -> Status {
    report = TRY(Check(tx));
    return Ok();
  });
  if (!status.ok()) __builtin_trap();
  const auto of_meta = [](const std::string& problem) {
    return problem.ends_with(": is not marked as a meta page");
  };
  return {report.problems.empty(),
          std::all_of(report.problems.begin(), report.problems.end(), of_meta)};
}

void TryInput(const uint8_t* data, size_t size) {
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string content = data[0] % 2 == 0 ? FromBytes(rest) : FromChanges(data[0] / 2, rest);
  const auto db = Db::OpenOn(std::make_unique<MemoryFile>(content), FuzzOptions());
  if (!db.ok()) return;
  const auto [sound, sound_but_meta] = Judge(**db);
  int budget = 2000;
  const Status read = (*db)->View([&](const Tx& tx) { return ReadAll(tx.Root(), 6, &budget); });
  if (sound && !read.ok()) __builtin_trap();
  // With the free pages known from the start the updates use them; a sound file must say it is one.
  // The search for them leaves the meta pages alone: a commit may be writing one.
  if ((data[0] & 64) != 0) {
    const Status walked = (*db)->WaitForFreePages();
    if (walked.ok() != sound_but_meta) __builtin_trap();
  }
  std::mt19937 random(data[0]);
  for (int i = 0; i < 3; ++i) {
    const Status written = (*db)->Update([&](Tx& tx) { return SomeSteps(tx, random); });
    if (sound && !written.ok() && written.error().Is(Code::kDataLoss)) __builtin_trap();
    if (sound && !Judge(**db).all) __builtin_trap();
  }
  (void)(*db)->WaitForFreePages();
}

}  // namespace
}  // namespace corten::bolt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 2) corten::bolt::TryInput(data, size);
  return 0;
}
