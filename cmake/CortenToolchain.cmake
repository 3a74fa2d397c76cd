# Compiler, linker and cache settings shared by every target.
find_program(CORTEN_CCACHE ccache)
if(CORTEN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # base_dir makes object files shareable between work trees.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros ${CORTEN_CCACHE})
endif()
find_program(CORTEN_MOLD mold)
if(CORTEN_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(corten_flags INTERFACE)
target_include_directories(corten_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(corten_flags INTERFACE FMT_HEADER_ONLY _GNU_SOURCE
  $<$<BOOL:${CORTEN_FAILPOINTS}>:CORTEN_FAILPOINTS=1>
  CORTEN_VERSION="${PROJECT_VERSION}")
target_compile_options(corten_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Werror
  -fvisibility=hidden -ffunction-sections -fdata-sections -fno-plt)
if(CMAKE_BUILD_TYPE STREQUAL "Release")  # elsewhere it would keep work trees from sharing cached objects
  target_compile_options(corten_flags INTERFACE -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12's std::stable_sort calls a function that it has itself marked as deprecated.
  target_compile_options(corten_flags INTERFACE -Wno-deprecated-declarations)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 at -O2 and -O3: false alarms on std::string (GCC bug 105651) and on std::optional members that are never read.
  target_compile_options(corten_flags INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(corten_flags INTERFACE -Wthread-safety -Wno-gnu-statement-expression-from-macro-expansion -Wno-sign-conversion)
endif()
add_link_options(-Wl,--gc-sections)

# corten_compact_relocations(target): in a release, addresses that every start adjusts are listed as a bitmap. For the daemon
# that is 17 KB instead of 0.8 MB that each start reads and keeps mapped. mold 1.10 writes such a list without the mark that
# glibc asks for, so GNU ld links these programs.
include(CheckLinkerFlag)
set(relr_flags -fuse-ld=bfd -Wl,-z,pack-relative-relocs)
check_linker_flag(CXX "${relr_flags}" CORTEN_HAS_RELR)
function(corten_compact_relocations target)
  if(CORTEN_HAS_RELR AND CMAKE_BUILD_TYPE STREQUAL "Release")
    target_link_options(${target} PRIVATE ${relr_flags})
  endif()
endfunction()

if(CORTEN_SANITIZE)
  add_compile_options(-fsanitize=${CORTEN_SANITIZE} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${CORTEN_SANITIZE})
  add_compile_definitions(CORTEN_SANITIZED=1)
endif()
if(CORTEN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage of the libraries guides the fuzzers
endif()
find_package(Threads REQUIRED)
