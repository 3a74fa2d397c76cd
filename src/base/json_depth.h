// A look at JSON before it is parsed.
#pragma once

#include <string_view>

namespace corten {

// Whether brackets outside of strings nest deeper than 64. Such a document is refused: whoever
// walks it, or writes it again, needs stack for each level. Text that is no JSON may get either
// answer. Pure; any thread.
bool NestedTooDeep(std::string_view json);

}  // namespace corten
