"""Checks the rules that keep the header readable: line length, reasons at includes, one `detail`, and groups of
declarations under one comment, which end.

(clang-tidy checks the length of functions.)"""

import re
import sys

text = open(sys.argv[1], encoding="utf-8").read()
lines = text.splitlines()
problems = [f"{n}: over 120 columns" for n, line in enumerate(lines, 1) if len(line) > 120]
problems += [f"{n}: an include without a reason" for n, line in enumerate(lines, 1)
             if line.startswith("#include") and "//" not in line]
opened = [n for n, line in enumerate(lines, 1) if line.startswith("namespace detail {")]
if len(opened) != 2 or "forward declarations" not in lines[opened[0] - 1]:
    problems.append(f"detail is opened at lines {opened}; once for forward declarations, once for all the rest")
if re.findall("/// @[{}]", text) != ["/// @{", "/// @}"] * text.count("/// @{"):
    problems.append("a /// @{ without its /// @}, or one in another")

code = sum(1 for line in lines if line.strip() and not line.strip().startswith("//"))
print(f"{len(lines)} lines, {code} of them code")
print("\n".join(problems) or "nothing to complain about")
sys.exit(1 if problems else 0)
