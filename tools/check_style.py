#!/usr/bin/env python3
"""Style rules that no formatter knows. Usage: check_style.py TOP

Errors: a file of more than 600 lines, a drawer's name (util, helper, manager), TRY anywhere but as a whole initialiser,
assignment, return or statement, `using namespace` outside a function, an absolute path of the machine the tree was made on.
Warnings (printed, never fatal): functions over 60 lines, headers over 250. An exemption is a line in tools/style_exempt.txt:
FILE RULE reason.
"""
import os
import re
import subprocess
import sys

MAX_FILE, MAX_HEADER, MAX_FUNCTION = 600, 250, 60
DRAWER = re.compile(r"(^|_)(utils?|helpers?|managers?|misc)(_|\.)")
CODE = (".cc", ".h")
COUNTED = CODE + (".py", ".sh", ".go")
COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^()\s]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def code_only(text):
    """The text with comments and literals blanked out, every newline kept."""
    def blank(match):
        found = match.group()
        if found.startswith("'") and match.start() and text[match.start() - 1].isdigit():
            return found  # a digit separator
        return "".join("\n" if c == "\n" else " " for c in found)
    return COMMENT_OR_STRING.sub(blank, text)


def closing(text, start):
    """Index after the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i + 1
    return len(text)


def misplaced_try(code):
    """Yields the line of each TRY that is not a whole initialiser, assignment (the step of a for too), return or statement."""
    for match in re.finditer(r"\bTRY\s*\(", code):
        line_start = code.rfind("\n", 0, match.start()) + 1
        if code[line_start:match.start()].lstrip().startswith("#"):
            continue
        before = code[:match.start()].rstrip()
        after = code[closing(code, match.end() - 1):].lstrip()
        starts = re.search(r"(?:[=;{}):]|\belse|\breturn|\bdo)$", before)
        step_of_for = re.search(r"\bfor\s*\([^{}]*;[^{};]*;[^{};]*[^=<>!]=$", before) and after.startswith(")")
        if not starts or before.endswith("==") or not (after.startswith(";") or step_of_for):
            yield code.count("\n", 0, match.start()) + 1


def long_functions(code):
    """Yields (line, length) of bodies at the outermost level of indentation that are over the limit."""
    opened = None
    for number, line in enumerate(code.split("\n"), 1):
        if opened is None and re.match(r"[^\s#}/].*\{\s*$|\) .*\{\s*$", line) and not re.match(
                r"(namespace|class|struct|union|enum|extern|static const|constexpr|const|inline constexpr)\b", line):
            opened = number
        elif opened is not None and line.startswith("}"):
            if number - opened > MAX_FUNCTION:
                yield opened, number - opened
            opened = None


def build_paths(top):
    """Directories whose names must not be written into the tree: where it lies on this machine."""
    path, found = os.path.realpath(top), []
    while path.count("/") >= 2:
        found.append(path + "/")
        path = os.path.dirname(path)
    return [p for p in found if p not in ("/home/", "/root/", "/tmp/", "/usr/local/", "/usr/src/", "/var/tmp/")]


def check_file(name, text, paths):
    """Yields (rule, message, fatal)."""
    lines = text.count("\n")
    base = os.path.basename(name)
    if name.endswith(COUNTED) and lines > MAX_FILE:
        yield "length", f"{name}: {lines} lines, more than {MAX_FILE}", True
    for path in paths:
        if path in text:
            line = text.count("\n", 0, text.index(path)) + 1
            yield "path", f"{name}:{line}: a path of the machine it was written on: {path}", True
    if not name.endswith(CODE):
        return
    if DRAWER.search(base):
        yield "drawer", f"{name}: a drawer's name; name the idea", True
    if name.endswith(".h") and lines > MAX_HEADER:
        yield "header", f"{name}: {lines} lines, a header over {MAX_HEADER}", False
    code = code_only(text)
    for match in re.finditer(r"^using namespace\b", code, re.M):
        yield "using", f"{name}:{code.count(chr(10), 0, match.end()) + 1}: using namespace", True
    for line in misplaced_try(code):
        yield "try", f"{name}:{line}: TRY must be a whole initialiser, assignment, return or statement", True
    for line, length in long_functions(code):
        yield "function", f"{name}:{line}: a function of {length} lines, more than {MAX_FUNCTION}", False


def exemptions(top):
    path = os.path.join(top, "tools", "style_exempt.txt")
    with open(path, encoding="utf-8") as f:
        words = [line.split(None, 2) for line in f if line.strip() and not line.startswith("#")]
    return {(w[0], w[1]) for w in words if len(w) == 3}


def main():
    top = sys.argv[1]
    names = subprocess.run(["git", "-C", top, "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    exempt, paths, failed = exemptions(top), build_paths(top), False
    for name in filter(None, names.split("\0")):
        full = os.path.join(top, name)
        if os.path.islink(full) or not os.path.isfile(full):
            continue
        with open(full, "rb") as f:
            data = f.read()
        if b"\0" in data:
            continue
        for rule, message, fatal in check_file(name, data.decode(errors="replace"), paths):
            if (name, rule) in exempt:
                continue
            print(("error: " if fatal else "warning: ") + message)
            failed |= fatal
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
