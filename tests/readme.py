"""Keeps what the README shows and what the tests build one and the same.

extract QUICKSTART OUTPUT   writes the program between the quickstart's two markers
check README QUICKSTART     fails where the README's first C++ block is another program
install README CONSUMERS    fails where a block of the README's section Install is in no file of these projects, or a
                            project in no block
"""

import difflib
import pathlib
import re
import sys

INCLUDES = '#include "nango.hpp"\n#include <iostream>\n'


def program(quickstart):
    text = open(quickstart, encoding="utf-8").read()
    found = re.search(r"// \[the five-line program\]\n(.*?) *// \[end\]\n", text, re.DOTALL)
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


if sys.argv[1] == "extract":
    open(sys.argv[3], "w", encoding="utf-8").write(program(sys.argv[2]) + "  return 0;\n}\n")
elif sys.argv[1] == "install":
    install(*sys.argv[2:])
else:
    check(*sys.argv[2:])
