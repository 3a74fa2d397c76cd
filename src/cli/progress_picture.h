// Progress of images as ctr shows it: a tree of what the daemon moves, a table of what this program
// moves. States and pictures; nothing is written here. One thread. Source: output of ctr 2.3.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "image/progress.h"

namespace corten::cli {

using Elapsed = std::chrono::duration<double>;

// What a daemon tells of a transfer.
class TransferTree {
 public:
  // True: there is something new to see (lines about the whole wait for the next object).
  bool Apply(const image::Progress& told);
  std::string Picture(Elapsed elapsed) const;

 private:
  struct Node {
    image::Progress told;
    std::vector<std::string> children;
    bool root = true;
  };
  void Link(const std::string& name, Node* node, const std::vector<std::string>& parents);
  int64_t Draw(const std::string& front, const std::vector<std::string>& names, int depth,
               std::string* out) const;
  std::map<std::string, Node> nodes_;
  std::vector<std::string> roots_;
  std::string status_;
};

// What this program fetches for `reference`.
class FetchTable {
 public:
  explicit FetchTable(std::string reference) : reference_(std::move(reference)) {}
  void Apply(const image::Progress& told);
  std::string Picture(Elapsed elapsed) const;

 private:
  struct Row {
    std::string name;
    std::string status;
    int64_t bytes = 0;
    int64_t total = 0;
    bool fetched = false;  // by this run
  };
  const std::string reference_;
  bool resolved_ = false;
  std::vector<Row> rows_;  // in the order in which they became known
  std::map<std::string, size_t> places_;
};

// Lines that `text` takes on a terminal of `columns` (colours take no room, tabs go to the next
// eighth).
int LinesOnScreen(std::string_view text, int columns);

}  // namespace corten::cli
