"""Keeps the README's first program and the quickstart's one and the same.

extract QUICKSTART OUTPUT   writes the program between the quickstart's two markers
check README QUICKSTART     fails where the README's first C++ block is another program
"""

import difflib
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


if sys.argv[1] == "extract":
    open(sys.argv[3], "w", encoding="utf-8").write(program(sys.argv[2]) + "  return 0;\n}\n")
else:
    check(*sys.argv[2:])
