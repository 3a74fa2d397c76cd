// OCI JSON as the shim reads it: config.json and the runtime's output. Any text gives facts or an
// error; views stay inside the text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "shim/bundle.h"
#include "shim/json.h"
#include "shim/process_io.h"

namespace {

using corten::shim::JsonView;

void Visit(const JsonView& value, std::string_view whole, int depth) {
  CHECK(value.text().data() >= whole.data() &&
        value.text().data() + value.text().size() <= whole.data() + whole.size());
  (void)value.String();
  (void)value.Bool();
  (void)value.Integer();
  (void)value.Find("a");
  (void)value.Find("annotations", "x");
  CHECK(depth <= 70);
  value.ForEach([&](const JsonView& element) {
    Visit(element, whole, depth + 1);
    return true;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = JsonView::Parse(text);
  if (json.ok()) Visit(*json, text, 0);
  (void)corten::shim::ParseSpecFacts(text);
  (void)corten::shim::ParsePlace(std::string(text));
  return 0;
}
