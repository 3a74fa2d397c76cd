#!/usr/bin/env python3
"""Reads what is linked into what from the build files. Usage: check_links.py BUILD_DIR

proto_lite and proto_msgs define the same C++ names, so no program may link both; the shim links neither gRPC nor the full
protobuf runtime, and no shared library at all. The daemon links what it needs as archives, but for ISA-L, which has none. A
sanitizer's runtime is a shared library: its build is not asked for -static.
"""
import os
import re
import sys

EDGE = re.compile(r"^build (\S+)(?: \|[^:]*)?: CXX_EXECUTABLE_LINKER__\S+ ([^\n]*)\n((?:  [^\n]*\n)*)", re.M)
SHIM = "containerd-shim-runc-v2"
DAEMON = "cortend"


def programs(build_ninja):
    """Yields (program, every word of its link edge)."""
    for match in EDGE.finditer(build_ninja.replace("$\n", "")):
        yield match.group(1), match.group(2).split() + match.group(3).split()


def check(program, words):
    libraries = {os.path.basename(w) for w in words if w.endswith((".a", ".so"))}
    if {"libcorten_proto_lite.a", "libcorten_proto_msgs.a"} <= libraries:
        yield f"{program} links proto_lite and proto_msgs together"
    if os.path.basename(program) == DAEMON:
        shared = sorted(l for l in libraries if l.endswith(".so") and l != "libisal.so")
        if shared:
            yield f"{program} links {', '.join(shared)}"
    if os.path.basename(program) == SHIM:
        heavy = sorted(l for l in libraries if re.match(r"lib(grpc|gpr|protobuf\.a|corten_proto_(msgs|grpc))", l))
        if heavy:
            yield f"{program} links {', '.join(heavy)}"
        sanitized = any(w.startswith("-fsanitize=") for w in words)
        if "-static" not in words and "-static-pie" not in words and not sanitized:
            yield f"{program} is not linked with -static"


def main():
    path = os.path.join(sys.argv[1], "build.ninja")
    if not os.path.exists(path):
        sys.exit(f"{path} is missing: configure with the Ninja generator")
    with open(path, encoding="utf-8") as f:
        found = list(programs(f.read()))
    if not found:
        sys.exit(f"{path} links no program")
    problems = [line for program, words in found for line in check(program, words)]
    for line in problems:
        print(line)
    print(f"{len(found)} programs checked")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
