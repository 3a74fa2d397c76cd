// Writes tar archives in pax format, the same bytes for the same entries.
//
// A plain ustar header where it says everything (long ASCII names in its prefix), preceded by an
// extended header otherwise (longer or other names, numbers that do not fit, times with fractions
// or before 1970, records of entry.pax). The layout of both is the one that Go's archive/tar writes
// for its PAX format, so that a tree gives the layer digest that containerd gives it. Life cycle:
// (WriteHeader WriteData*)* Finish. One thread.
#pragma once

#include <string_view>

#include "diff/differ.h"
#include "diff/tar_entry.h"

namespace corten::diff {

class TarWriter {
 public:
  // `sink` is borrowed for the writer's life.
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}

  // Begins a member of entry.size data bytes (types without data: none). atime and ctime are
  // written when set; user_name and group_name are, `sparse` is ignored. kInvalidArgument: a NUL in
  // a name, a record that readers refuse; kFailedPrecondition: the member before lacks data.
  Status WriteHeader(const TarEntry& entry);
  // kFailedPrecondition beyond the announced size.
  Status WriteData(std::string_view data);
  // Ends the archive with two zero blocks; nothing more may follow.
  Status Finish();

 private:
  Status EndMember();
  Status WritePaxHeader(const TarEntry& entry, std::string_view records);

  ByteSink& sink_;
  uint64_t left_ = 0;  // data bytes that the present member still needs
  uint32_t padding_ = 0;
};

}  // namespace corten::diff
