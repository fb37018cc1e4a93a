"""Keeps what the README shows and what the tests build one and the same.

extract QUICKSTART OUTPUT   writes the program between the quickstart's two markers
check README QUICKSTART     fails where the README's first C++ block is another program
snippets README             fails where another C++ block is not what stands in the file that the line above it names,
                            <!-- examples/error_handling.cpp: each code -->, from `// [each code]` to `// [end]`; or
                            where a marker of an example is not shown
install README CONSUMERS    fails where a block of the README's section Install is in no file of these projects, or a
                            project in no block
"""

import difflib
import pathlib
import re
import sys
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
    pieces = {}
    for indent, name, piece in re.findall(r"^( *)// \[([^\]\n]+)\]\n(.*?)^ *// \[end\]$", path.read_text(encoding="utf-8"),
                                          re.DOTALL | re.MULTILINE):
        pieces[name] = textwrap.dedent(piece)
    return pieces


def snippets(readme):
    root = pathlib.Path(readme).parent
    blocks = re.findall(r"(?:<!-- (\S+): (.*?) -->\n)?```cpp\n(.*?)```", open(readme, encoding="utf-8").read(), re.DOTALL)
    seen = set()
    for path, name, shown in blocks[1:]:
        if not path:
            sys.exit(f"this block does not say whose it is:\n{shown}")
        pieces = marked(root / path)
        if name not in pieces:
            sys.exit(f"{path} has no [{name}]")
        compare(pieces[name], shown, f"{path}: {name}", readme)
        seen.add((path, name))
    for path in [*sorted((root / "examples").rglob("*.cpp")), root / "tests/readme_calls.cpp"]:
        for name in marked(path):
            if name != FIVE_LINES and (str(path.relative_to(root)), name) not in seen:
                sys.exit(f"the README does not show [{name}] of {path}")


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
    {"check": check, "snippets": snippets, "install": install}[sys.argv[1]](*sys.argv[2:])
