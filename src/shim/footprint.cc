#include "shim/footprint.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace corten::shim {

namespace {

// Only the executable segment: it is never written, so dropping its pages loses nothing.
int DropCode(struct dl_phdr_info* info, size_t, void*) {
  const auto page = static_cast<uintptr_t>(getpagesize());
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 || (segment.p_flags & PF_W) != 0)
      continue;
    const uintptr_t begin = (info->dlpi_addr + segment.p_vaddr + page - 1) / page * page;
    const uintptr_t end = (info->dlpi_addr + segment.p_vaddr + segment.p_memsz) / page * page;
    // Whole pages inside the segment, so that no writable neighbour is touched.
    if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 1;  // the first object is the program itself
}

}  // namespace

void TuneAllocator() {
  (void)mallopt(M_ARENA_MAX, 1);
  (void)mallopt(M_TOP_PAD, 4 << 10);
  (void)mallopt(M_TRIM_THRESHOLD, 32 << 10);
  (void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

void ReleaseIdleMemory() {
  (void)malloc_trim(0);
  (void)dl_iterate_phdr(&DropCode, nullptr);
}

}  // namespace corten::shim
