#!/usr/bin/env python3
"""Compares the include graph of src/ with tools/layers.txt. Usage: check_layers.py TOP

Also: every room has a README of at most a page, gRPC and protobuf stay in their rooms, heavy libraries stay out of headers.
Tests (*_test.cc, *_fuzz.cc, *_bench.cc, and fakes and contract suites they share) may include any room below `daemon`.
"""
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
TEST_FILE = re.compile(r"(_test|_fuzz|_bench|_contract)\.(cc|h)$|(^|/)(fake|test)_[^/]*\.(cc|h)$|/testing/")
GENERATED = re.compile(r"\.pb\.h$")
GRPC_ROOMS = {"services", "cri", "client", "daemon", "proto"}
NO_PROTOBUF = {"content", "snapshot", "diff", "events", "model", "base"}
LIGHT = ("nlohmann/json_fwd.hpp",)  # names only
HEAVY = ("nlohmann/", "fmt/", "CLI/", "toml++/", "toml.hpp", "base/toml.h")
README_LINES = 80


def read_layers(path):
    """{room: {allowed room: "all" or "contract"}}; a room with `*` may include everything but cli and shim."""
    layers = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if not line:
                continue
            room, _, allowed = line.partition(":")
            words = allowed.split()
            layers[room.strip()] = {w.rstrip("*"): "contract" if w.endswith("*") else "all" for w in words if w != "*"}
            if "*" in words:
                layers[room.strip()]["*"] = "all"
    return layers


def target_room(include, rooms):
    """The room an include line points into, or None if it is a library's."""
    if GENERATED.search(include):
        return "proto"
    first = include.split("/")[0]
    return first if "/" in include and first in rooms else None


def check_arrow(layers, room, include, is_test):
    """Why this include is not allowed, or None."""
    target = target_room(include, layers)
    if target is None or target == room:
        return None
    if target in ("cli", "shim", "daemon"):
        return f"nothing may include {target}/"
    allowed = layers[room]
    if "*" in allowed or is_test:
        return None
    if target not in allowed:
        return f"{room} may not include {target}/"
    if allowed[target] == "contract" and include.count("/") > 1:
        return f"{room} may include the contract of {target} only (src/{target}/*.h)"
    return None


def check_libraries(room, path, bracket_includes):
    """Why a library's header may not stand in this file: (include, reason)."""
    for include in bracket_includes:
        if path.endswith(".h") and not TEST_FILE.search(path):
            if include.endswith(".grpc.pb.h"):
                yield include, "generated service headers stand in .cc files only"
            private = path.endswith(("/toml.h", "_toml.h")) and "toml" in include  # named after what they bring
            if include.startswith(HEAVY) and include not in LIGHT and not private:
                yield include, "heavy headers stand in .cc files only"
        if include.startswith("grpc") and room not in GRPC_ROOMS:
            yield include, "gRPC is known in " + ", ".join(sorted(GRPC_ROOMS)) + " only"
        if (include.startswith("google/protobuf") or GENERATED.search(include)) and room in NO_PROTOBUF:
            yield include, f"protobuf stays out of {room}"


def check_file(layers, room, relative, text):
    is_test = bool(TEST_FILE.search(relative))
    includes = INCLUDE.findall(text)
    for _, include in includes:
        reason = check_arrow(layers, room, include, is_test)
        if reason:
            yield f"src/{relative}: \"{include}\": {reason}"
    if not is_test:
        for include, reason in check_libraries(room, relative, [name for _, name in includes]):
            yield f"src/{relative}: \"{include}\": {reason}"


def check_readme(top, room):
    path = os.path.join(top, "src", room, "README.md")
    if not os.path.exists(path):
        return [f"src/{room}/README.md is missing"]
    with open(path, encoding="utf-8") as f:
        lines = len(f.readlines())
    return [f"src/{room}/README.md has {lines} lines, more than a page ({README_LINES})"] if lines > README_LINES else []


def check_tree(top):
    layers = read_layers(os.path.join(top, "tools", "layers.txt"))
    source = os.path.join(top, "src")
    for room in sorted(os.listdir(source)):
        directory = os.path.join(source, room)
        if not os.path.isdir(directory):
            continue
        if room not in layers:
            yield f"src/{room} is not in tools/layers.txt"
            continue
        if os.path.exists(os.path.join(directory, "CMakeLists.txt")):
            yield from check_readme(top, room)
        for where, _, files in os.walk(directory):
            for name in sorted(files):
                if name.endswith((".h", ".cc")):
                    path = os.path.join(where, name)
                    with open(path, encoding="utf-8") as f:
                        yield from check_file(layers, room, os.path.relpath(path, source), f.read())


def main():
    problems = list(check_tree(sys.argv[1]))
    for line in problems:
        print(line)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
