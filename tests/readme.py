"""Keeps what the README shows and what the tests build one and the same.

extract QUICKSTART OUTPUT   writes the program between the quickstart's two markers
check README QUICKSTART     fails where the README's first C++ block is another program
snippets README [PIECE ...] fails where another C++ block is not what stands in the file that the line above it names,
                            <!-- examples/error_handling.cpp: each code -->, from `// [each code]` to `// [end]`; where
                            markers do not pair; or where a marker of an example is not shown. A PIECE, such as
                            "examples/many_users.cpp: many users", is left out by the README, and that must be so
install README CONSUMERS    fails where a block of the README's section Install is in no file of these projects, or a
                            project in no block
self_test                   fails where `snippets` lets a README pass that is wrong
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
FIVE_LINES = "the five-line program"


def program(quickstart):
    text = open(quickstart, encoding="utf-8").read()
    found = re.search(rf"// \[{FIVE_LINES}\]\n(.*?) *// \[end\]\n", text, re.DOTALL)
    if not found:
        sys.exit(f"{quickstart}: the markers are missing")
    return found.group(1)


def compare(expected, shown, source, readme):
    if shown != expected:
        sys.stdout.writelines(difflib.unified_diff(
            expected.splitlines(True), shown.splitlines(True), str(source), str(readme)))
        sys.exit(f"the README's code is not that of {source}")


def check(readme, quickstart):
    found = re.search(r"```cpp\n(.*?)```", open(readme, encoding="utf-8").read(), re.DOTALL)
    compare(INCLUDES + program(quickstart) + "}\n", found.group(1) if found else "", quickstart, readme)


def marked(path):
    """The pieces of a file by their names."""
    pieces, name, lines = {}, None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(True), 1):
        marker = re.fullmatch(r" *// \[([^\]]+)\]\n", line)
        if not marker:
            lines.append(line)
        elif (marker[1] == "end") != (name is not None) or marker[1] in pieces:
            sys.exit(f"{path}:{number}: [{marker[1]}] ends nothing, begins within another, or is there twice")
        elif name is None:
            name, lines = marker[1], []
        else:
            pieces[name], name = textwrap.dedent("".join(lines)), None
    if name is not None:
        sys.exit(f"{path}: [{name}] has no end")
    return pieces


def snippets(readme, *left_out):
    root = pathlib.Path(readme).parent
    sources = [path for path in sorted((root / "examples").rglob("*")) if path.suffix in (".cpp", ".hpp")]
    sources += (root / "tests").glob("readme_calls.cpp")
    files = {path.relative_to(root).as_posix(): marked(path) for path in sources}
    text, seen = open(readme, encoding="utf-8").read(), set()
    blocks = re.findall(r"(?:<!-- (\S+): (.*?) -->\n)?^```cpp\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for path, name, shown in blocks[1:]:
        if not path:
            sys.exit(f"this block does not say whose it is:\n{shown}")
        if name not in files.get(path, {}):
            sys.exit(f"{path} has no [{name}]")
        compare(files[path][name], shown, f"{path}: {name}", readme)
        seen.add(f"{path}: {name}")
    if len(re.findall(r"^<!-- *(?:examples|tests)/", text, re.MULTILINE)) != len(blocks[1:]):
        sys.exit("a comment of the README stands above no C++ block")
    hidden = {f"{path}: {name}" for path, pieces in files.items() for name in pieces if name != FIVE_LINES} - seen
    if hidden != set(left_out):
        sys.exit(f"the README does not show {sorted(hidden - set(left_out))}; "
                 f"and {sorted(set(left_out) - hidden)} need not be named as left out")


def self_test():
    source = "int main() {\n  // [one]\n  if (a)\n    b();\n  // [end]\n}\n"
    first, shows = "```cpp\n#include\n```\n\n", "<!-- examples/a.cpp: one -->\n```cpp\nif (a)\n  b();\n```\n"
    cases = [  # what it is, README, a.cpp, what it is told to leave out, what it must say (None: nothing)
        ("the same", shows, source, [], None),
        ("the README differs", shows.replace("b()", "c()"), source, [], "not that of examples/a.cpp: one"),
        ("the example differs", shows, source.replace("b()", "c()"), [], "not that of examples/a.cpp: one"),
        ("another indentation", shows.replace("  b", "    b"), source, [], "not that of examples/a.cpp: one"),
        ("a line less", shows.replace("  b();\n", ""), source, [], "not that of examples/a.cpp: one"),
        ("no such marker", shows.replace("one", "two"), source, [], "examples/a.cpp has no [two]"),
        ("no such file", shows.replace("a.cpp", "b.cpp"), source, [], "examples/b.cpp has no [one]"),
        ("no block", shows.replace("```cpp", "```sh"), source, [], "above no C++ block"),
        ("text between", shows.replace("```cpp", "So:\n```cpp"), source, [], "does not say whose it is"),
        ("a comment misspelt", shows.replace(": one", " one"), source, [], "does not say whose it is"),
        ("no comment", shows[shows.index("```"):], source, [], "does not say whose it is"),
        ("not shown", "", source, [], "does not show ['examples/a.cpp: one']"),
        ("one of two not shown", shows, source + source.replace("one", "two"), [], "show ['examples/a.cpp: two']"),
        ("not shown, and need not be", "", source, ["examples/a.cpp: one"], None),
        ("shown after all", shows, source, ["examples/a.cpp: one"], "['examples/a.cpp: one'] need not be named"),
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
            (root / "README.md").write_text(first + readme, encoding="utf-8")
            said = None
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # the differences that it is to find
                    snippets(root / "README.md", *left_out)
            except SystemExit as end:
                said = str(end)
        if (said is None) != (expected is None) or (expected or "") not in (said or ""):
            sys.exit(f"{what}: said {said!r}, expected {expected!r}")
    print(f"{len(cases)} READMEs")


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


if sys.argv[1] == "extract":
    open(sys.argv[3], "w", encoding="utf-8").write(program(sys.argv[2]) + "  return 0;\n}\n")
else:
    {"check": check, "snippets": snippets, "install": install, "self_test": self_test}[sys.argv[1]](*sys.argv[2:])
