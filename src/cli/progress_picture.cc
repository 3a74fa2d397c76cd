#include "cli/progress_picture.h"

#include <algorithm>
#include <cstdio>

#include "cli/table.h"

namespace corten::cli {

namespace {

constexpr int kBarWidth = 38;      // between its ends
constexpr size_t kNameWidth = 40;  // characters of a name in the tree
constexpr int kMaxDepth = 16;      // a tree that is deeper is not drawn further down
constexpr int kTabStop = 8;

std::string Bar(double part) {
  const int full = static_cast<int>(std::clamp(part, 0.0, 1.0) * kBarWidth);
  return StrCat("|\033[32m", std::string(static_cast<size_t>(full), '+'), "\033[0m",
                std::string(static_cast<size_t>(kBarWidth - full), '-'), "|");
}

double Part(int64_t bytes, int64_t total) {
  return total > 0 ? static_cast<double>(bytes) / static_cast<double>(total) : 0;
}

// The last `width` at most from the left, filled on the left.
std::string RightAligned(const std::string& text, size_t cut, size_t width) {
  const std::string shown = text.substr(0, cut);
  return StrCat(std::string(width > shown.size() ? width - shown.size() : 0, ' '), shown);
}

// Exactly `width` characters.
std::string Fitted(std::string_view text, size_t width) {
  size_t end = 0;
  size_t characters = 0;
  while (end < text.size()) {
    size_t next = end + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0) == 0x80) ++next;
    if (characters == width) break;
    ++characters;
    end = next;
  }
  return StrCat(text.substr(0, end), std::string(width - characters, ' '));
}

std::string Padded(std::string_view text, size_t width) {
  const size_t characters = DisplayWidth(text);
  return StrCat(text, std::string(width > characters ? width - characters : 0, ' '));
}

// "layer-sha256:68da3995f430..." -> "layer (68da3995f430)".
std::string ShortName(const std::string& name) {
  constexpr std::string_view kDigest = "sha256:";
  constexpr size_t kDigestSize = 71;
  constexpr size_t kShown = 12;
  std::string out;
  size_t from = 0;
  while (true) {
    const size_t dash = name.find('-', from);
    const std::string part = name.substr(from, dash == std::string::npos ? dash : dash - from);
    if (from > 0) out += " ";
    out += part.size() == kDigestSize && part.starts_with(kDigest)
               ? StrCat("(", part.substr(kDigest.size(), kShown), ")")
               : part;
    if (dash == std::string::npos) return out;
    from = dash + 1;
  }
}

std::string ElapsedText(Elapsed elapsed) {
  char text[32];
  (void)snprintf(text, sizeof(text), "elapsed: %-4.1fs", elapsed.count());
  return text;
}

std::string TotalText(int64_t bytes) {
  return StrCat("total: ", RightAligned(BinarySize(bytes), 6, 7));
}

std::string RateText(int64_t bytes, Elapsed elapsed) {
  const double seconds = std::max(elapsed.count(), 1e-9);
  return StrCat("(", BinarySize(static_cast<int64_t>(static_cast<double>(bytes) / seconds)), "/s)");
}

std::string BytesOf(int64_t bytes, int64_t total) {
  return StrCat(RightAligned(BinarySize(bytes), 8, 8), "/", BinarySize(total));
}

std::string TreeLine(const std::string& name, const image::Progress& told) {
  const std::string front = StrCat(Fitted(name, kNameWidth), "\t");
  const std::string& event = told.event;
  const std::string status = StrCat(Padded(event, 11), "\t");
  if (event == "downloading" || event == "uploading" || event == "extracting") {
    return StrCat(front, status, Bar(Part(told.progress, told.total)), "\t",
                  BytesOf(told.progress, told.total), "\t\n");
  }
  if (event == "waiting" || event == "resolving") return StrCat(front, status, Bar(0), "\t\n");
  if (event == "complete" || event == "extracted") return StrCat(front, status, Bar(1), "\t\n");
  return StrCat(front, event, "\t\n");
}

}  // namespace

bool TransferTree::Apply(const image::Progress& told) {
  if (told.name.empty()) {
    status_ = told.event;
    return false;
  }
  const auto [place, is_new] = nodes_.try_emplace(told.name);
  Node& node = place->second;
  if (is_new) roots_.push_back(told.name);
  Link(told.name, &node, told.parents);
  const model::Descriptor before = node.told.descriptor;
  node.told = told;
  if (node.told.descriptor.digest.empty()) node.told.descriptor = before;
  return true;
}

// Below each parent that is known; one that has none stands for itself.
void TransferTree::Link(const std::string& name, Node* node,
                        const std::vector<std::string>& parents) {
  for (const std::string& parent : parents) {
    const auto found = nodes_.find(parent);
    if (found == nodes_.end() || parent == name) continue;
    std::vector<std::string>& children = found->second.children;
    if (std::find(children.begin(), children.end(), name) != children.end()) continue;
    children.push_back(name);
    if (node->root) std::erase(roots_, name);
    node->root = false;
  }
}

int64_t TransferTree::Draw(const std::string& front, const std::vector<std::string>& names,
                           int depth, std::string* out) const {
  int64_t total = 0;
  if (depth > kMaxDepth) return total;
  for (size_t i = 0; i < names.size(); ++i) {
    const Node& node = nodes_.at(names[i]);
    const bool last = i + 1 == names.size();
    const std::string here = node.root ? "" : last ? "└──" : "├──";
    const std::string below = node.root ? "" : last ? "   " : "│  ";
    *out += TreeLine(StrCat(front, here, ShortName(names[i])), node.told);
    total += node.told.progress;
    total += Draw(StrCat(front, below), node.children, depth + 1, out);
  }
  return total;
}

std::string TransferTree::Picture(Elapsed elapsed) const {
  std::string out;
  const int64_t total = Draw("", roots_, 0, &out);
  for (const std::string& name : roots_) {
    const model::Descriptor& descriptor = nodes_.at(name).told.descriptor;
    if (!descriptor.digest.empty())
      out += StrCat(descriptor.media_type, " ", descriptor.digest.str(), "\n");
  }
  return StrCat(out, status_, "\t", ElapsedText(elapsed), "\t", TotalText(total), "\t",
                RateText(total, elapsed), "\t\n");
}

void FetchTable::Apply(const image::Progress& told) {
  if (told.name.empty()) {
    if (told.event.starts_with("Pulling from")) resolved_ = true;
    return;
  }
  if (told.parents.empty() || told.event == "saved") return;  // the image itself
  const auto [place, is_new] = places_.try_emplace(told.name, rows_.size());
  if (is_new) rows_.push_back({told.name, "", 0, 0, false});
  Row& row = rows_[place->second];
  row.bytes = told.progress;
  row.total = told.total;
  if (told.event == "downloading") row.fetched = true;
  row.status = told.event == "complete"         ? "done"
               : told.event == "already exists" ? "exists"
                                                : told.event;
}

std::string FetchTable::Picture(Elapsed elapsed) const {
  Table table(kTight);
  table.Row(
      {StrCat(reference_, ":"), resolved_ ? "resolved" : "resolving", Bar(resolved_ ? 1 : 0)});
  int64_t total = 0;
  for (const Row& row : rows_) {
    if (row.fetched) total += row.bytes;
    if (row.status == "downloading") {
      table.Row({StrCat(row.name, ":"), row.status, Bar(Part(row.bytes, row.total)),
                 BytesOf(row.bytes, row.total)});
    } else {
      table.Row({StrCat(row.name, ":"), row.status, Bar(row.status == "waiting" ? 0 : 1)});
    }
  }
  table.Row({ElapsedText(elapsed), TotalText(total), RateText(total, elapsed)});
  return table.Render();
}

int LinesOnScreen(std::string_view text, int columns) {
  int lines = 0;
  int column = 0;
  bool escape = false;
  for (const char c : text) {
    if (escape) {
      escape = c != 'm';
    } else if (c == '\033') {
      escape = true;
    } else if (c == '\n') {
      lines += 1 + (columns > 0 && column > 0 ? (column - 1) / columns : 0);
      column = 0;
    } else if (c == '\t') {
      column = (column / kTabStop + 1) * kTabStop;
    } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
      ++column;
    }
  }
  return lines;
}

}  // namespace corten::cli
