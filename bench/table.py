#!/usr/bin/env python3
"""Turns the bench's JSON lines into the tables of docs/BENCHMARKS.md.

Usage: table.py FIGURES.jsonl [...]                     prints the tables
       table.py --update DOCUMENT FIGURES.jsonl [...]   puts them between the document's `<!-- figures -->` and `<!-- /figures -->`
Later files replace rows of earlier ones.
"""
import json
import re
import sys

DAEMONS = ("corten", "containerd")


def digits(value):
    size = abs(value)
    return f"{value:,.{0 if size >= 1000 or value == int(value) else 1 if size >= 100 else 2 if size >= 10 else 3}f}"


def load(paths):
    """Facts, figures by (row, what), notes by row; each in order of appearance."""
    facts, figures, notes = {}, {}, {}
    for path in paths:
        with open(path, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        rows = {line["row"] for line in lines if line["kind"] == "figure"}
        figures = {key: value for key, value in figures.items() if key[0] not in rows}
        for line in lines:
            kind = line.pop("kind")
            if kind == "environment":
                facts.update(line)
            elif kind == "note":
                notes[line["row"]] = line["text"]
            else:
                entry = figures.setdefault((line["row"], line["what"]), {})
                entry[line["daemon"] if kind == "figure" else "ratio"] = line
    return facts, figures, notes


def goal(ratio):
    if "goal" not in ratio:
        return ""
    met = ratio["ratio"] >= ratio["goal"] if ratio["at_least"] else ratio["ratio"] <= ratio["goal"]
    return f"{'>=' if ratio['at_least'] else '<='} {digits(ratio['goal'])}{'' if met else ', **missed**'}"


def order(key):
    return int(key[0]) if key[0].isdigit() else 1000


def figure_table(figures):
    yield "| row | what | corten p50 / p99 | containerd p50 / p99 | ratio | goal |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (row, what), entry in sorted(figures.items(), key=lambda item: order(item[0])):
        if row == "ops":
            continue
        cells = []
        for daemon in DAEMONS:
            figure = entry.get(daemon)
            single = figure and (figure["n"] == 1 or figure["p50"] == figure["p99"])
            cells.append("" if not figure else digits(figure["p50"]) if single else
                         f"{digits(figure['p50'])} / {digits(figure['p99'])}")
        ratio = entry.get("ratio", {})
        unit = next(entry[d]["unit"] for d in DAEMONS if d in entry)
        name = what.strip() + (f", {unit}" if unit else "")
        yield f"| {row} | {name} | {cells[0]} | {cells[1]} | {digits(ratio['ratio']) if ratio else ''} | {goal(ratio)} |"


def operation_table(figures):
    kinds, operations = [], {}
    for (row, what), entry in figures.items():
        if row != "ops":
            continue
        operation, kind = what.rsplit(": ", 1)
        if kind not in kinds:
            kinds.append(kind)
        operations.setdefault(operation, {})[kind] = " / ".join(
            digits(entry[d]["p50"]) if d in entry else "-" for d in DAEMONS)
    if not operations:
        return
    yield "| operation (corten / containerd) | " + " | ".join(kinds) + " |"
    yield "| --- |" + " --- |" * len(kinds)
    for operation, cells in operations.items():
        yield f"| {operation} | " + " | ".join(cells.get(kind, "") for kind in kinds) + " |"


def document(paths):
    facts, figures, notes = load(paths)
    yield from ("; ".join(f"{name}: {str(value).strip()}" for name, value in facts.items()) + ".", "")
    yield from figure_table(figures)
    yield ""
    yield from operation_table(figures)
    yield ""
    for row, text in notes.items():
        yield f"- Rows {row}: {text}."


def main():
    words = sys.argv[1:]
    if not words or (words[0] == "--update" and len(words) < 3):
        sys.exit(__doc__)
    if words[0] != "--update":
        print("\n".join(document(words)))
        return
    with open(words[1], encoding="utf-8") as f:
        text = f.read()
    tables = "\n".join(document(words[2:]))
    new, count = re.subn(r"(<!-- figures -->\n).*?(<!-- /figures -->)", lambda m: f"{m[1]}\n{tables}\n\n{m[2]}", text,
                         flags=re.S)
    if count != 1:
        sys.exit(f"{words[1]}: no `<!-- figures -->` and `<!-- /figures -->`")
    with open(words[1], "w", encoding="utf-8") as f:
        f.write(new)


if __name__ == "__main__":
    main()
