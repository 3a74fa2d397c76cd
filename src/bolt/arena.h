// Memory that lives as long as a transaction. Internal to the room; one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace corten::bolt {

class Arena {
 public:
  // `size` bytes of zeros.
  char* Allocate(size_t size) {
    if (size > left_) Grow(size);
    char* out = next_;
    next_ += size;
    left_ -= size;
    return out;
  }
  std::string_view Copy(std::string_view text) {
    if (text.empty()) return {};
    char* out = Allocate(text.size());
    std::memcpy(out, text.data(), text.size());
    return {out, text.size()};
  }

 private:
  static constexpr size_t kBlock = size_t{64} << 10;
  void Grow(size_t size) {
    const size_t block = std::max(size, kBlock);
    blocks_.push_back(std::make_unique<char[]>(block));
    next_ = blocks_.back().get();
    left_ = block;
  }
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace corten::bolt
