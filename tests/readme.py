"""Keeps what the README shows and what the tests build one and the same.

extract QUICKSTART OUTPUT     writes the program between the quickstart's two markers
check README QUICKSTART       fails where the README's first C++ block is another program
install README CONSUMERS      fails where a block of the README's section Install is in no file of these projects, or a
                              project in no block
examples README [NAME ...]    fails where a block below <!-- examples/FILE: MARKER --> is not what stands in that file
                              between // [MARKER] and // [end], less its indentation; where there is no such file or
                              marker; and where an example has markers and the README shows none of them. A NAME is an
                              example that the README leaves out, and that must be so
self_test                     fails where `examples` lets a README pass that is wrong
"""

import contextlib
import difflib
import io
import pathlib
import re
import sys
import tempfile
import textwrap

INCLUDES = '#include "nango.hpp"\n#include <iostream>\n'
FIVE_LINES = "the five-line program"  # `check` and `extract` care for it


def program(quickstart):
    text = open(quickstart, encoding="utf-8").read()
    found = re.search(rf"// \[{FIVE_LINES}\]\n(.*?) *// \[end\]\n", text, re.DOTALL)
    if not found:
        sys.exit(f"{quickstart}: the markers are missing")
    return found.group(1)


def check(readme, quickstart):
    found = re.search(r"```cpp\n(.*?)```", open(readme, encoding="utf-8").read(), re.DOTALL)
    shown = found.group(1) if found else ""
    expected = INCLUDES + program(quickstart) + "}\n"
    if shown != expected:
        sys.stdout.writelines(difflib.unified_diff(
            expected.splitlines(True), shown.splitlines(True), quickstart, readme))
        sys.exit("the README's first program is not the quickstart's")


def install(readme, consumers):
    section = re.search(r"\n## Install\n(.*?)\n## ", open(readme, encoding="utf-8").read(), re.DOTALL)
    blocks = re.findall(r"```\w+\n(.*?)```", section.group(1) if section else "", re.DOTALL)
    projects = [path for path in pathlib.Path(consumers).iterdir() if path.suffix not in (".cpp", ".py")]
    files = [(project, path) for project in projects for path in [project, *project.rglob("*")] if path.is_file()]
    unseen = set(projects)
    for block in blocks:
        shown = {project for project, path in files if "\n" + block in "\n" + path.read_text(encoding="utf-8")}
        if not shown:
            sys.exit(f"no project in {consumers} has these lines of the README:\n{block}")
        unseen -= shown
    if unseen or not blocks:
        sys.exit(f"the README's section Install does not show {sorted(map(str, unseen))}")


def snippets(path):
    """The texts between the markers of a file, by their names."""
    found, name, lines = {}, None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(True), 1):
        marker = re.fullmatch(r" *// \[([^\]]+)\]\n", line)
        if not marker:
            lines.append(line)
        elif (marker[1] == "end") != (name is not None) or marker[1] in found:
            sys.exit(f"{path}:{number}: [{marker[1]}] ends nothing, begins within another, or is there twice")
        elif name is None:
            name, lines = marker[1], []
        else:
            found[name], name = textwrap.dedent("".join(lines)), None
    if name is not None:
        sys.exit(f"{path}: [{name}] has no end")
    return found


def examples(readme, *left_out):
    readme = pathlib.Path(readme)
    folder = readme.parent / "examples"
    marked = {path.relative_to(folder).as_posix(): snippets(path)
              for path in sorted(folder.rglob("*")) if path.suffix in (".cpp", ".hpp")}
    text, shown = readme.read_text(encoding="utf-8"), set()
    for comment in re.finditer(r"<!-- *examples/.*\n?", text):  # whatever looks like one has to be one
        says = re.fullmatch(r"<!-- examples/([^\s:]+): ([^\]]+?) -->\n", comment[0])
        block = re.compile(r"\s*```cpp\n(.*?)^```$", re.DOTALL | re.MULTILINE).match(text, comment.end())
        if not says or not block:
            sys.exit(f"{readme}: not <!-- examples/FILE: MARKER --> and a C++ block:\n{comment[0]}")
        file, name = says.groups()
        if name not in marked.get(file, {}):
            sys.exit(f"{readme} shows [{name}] of examples/{file}, which is not there")
        if block[1] != marked[file][name]:
            sys.stdout.writelines(difflib.unified_diff(marked[file][name].splitlines(True),
                                                       block[1].splitlines(True), f"examples/{file}", str(readme)))
            sys.exit(f"{readme} shows another [{name}] than examples/{file} has")
        shown.add(file)
    hidden = {file for file, parts in marked.items() if set(parts) - {FIVE_LINES} and file not in shown}
    if hidden != set(left_out):
        sys.exit(f"{readme} shows nothing of {sorted(hidden - set(left_out))}, which have markers; "
                 f"and {sorted(set(left_out) - hidden)} need not be named as left out")


def self_test():
    source = "int main() {\n  // [one]\n  if (a)\n    b();\n  // [end]\n}\n"
    shows = "<!-- examples/a.cpp: one -->\n```cpp\nif (a)\n  b();\n```\n"
    cases = [  # what it is, README, a.cpp, what it is told to leave out, what it must say (None: nothing)
        ("the same", shows, source, [], None),
        ("an empty line between", shows.replace("-->\n", "-->\n\n"), source, [], None),
        ("the README differs", shows.replace("b()", "c()"), source, [], "another [one]"),
        ("the example differs", shows, source.replace("b()", "c()"), [], "another [one]"),
        ("another indentation", shows.replace("  b", "    b"), source, [], "another [one]"),
        ("a line less", shows.replace("  b();\n", ""), source, [], "another [one]"),
        ("no such marker", shows.replace("one", "two"), source, [], "[two] of examples/a.cpp"),
        ("no such file", shows.replace("a.cpp", "b.cpp"), source, [], "[one] of examples/b.cpp"),
        ("no block", shows.replace("```cpp", "```sh"), source, [], "a C++ block"),
        ("text between", shows.replace("```cpp", "So:\n```cpp"), source, [], "a C++ block"),
        ("a marker misspelt", shows.replace(": one", " one"), source, [], "a C++ block"),
        ("not shown", "", source, [], "shows nothing of ['a.cpp']"),
        ("not shown, and need not be", "", source, ["a.cpp"], None),
        ("shown after all", shows, source, ["a.cpp"], "['a.cpp'] need not be named"),
        ("without markers", "", "int main() {}\n", [], None),
        ("the quickstart's", "", source.replace("one", FIVE_LINES), [], None),
        ("no end", shows, source.replace("  // [end]\n", ""), [], "[one] has no end"),
        ("no beginning", shows, source.replace("  // [one]\n", ""), [], "[end] ends nothing"),
        ("one within another", shows, source.replace("  if", "  // [two]\n  if"), [], "[two] ends nothing, begins within"),
        ("there twice", shows, source + source, [], "there twice"),
    ]
    for what, readme, text, left_out, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "examples").mkdir()
            (root / "examples/a.cpp").write_text(text, encoding="utf-8")
            (root / "README.md").write_text(readme, encoding="utf-8")
            said = None
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # the differences that it is to find
                    examples(root / "README.md", *left_out)
            except SystemExit as end:
                said = str(end)
        if (said is None) != (expected is None) or (expected or "") not in (said or ""):
            sys.exit(f"{what}: said {said!r}, expected {expected!r}")
    print(f"{len(cases)} READMEs")


if sys.argv[1] == "extract":
    open(sys.argv[3], "w", encoding="utf-8").write(program(sys.argv[2]) + "  return 0;\n}\n")
else:
    {"check": check, "install": install, "examples": examples, "self_test": self_test}[sys.argv[1]](*sys.argv[2:])
