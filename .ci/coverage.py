"""How much of nango.hpp a build folder's tests have run: lines by gcovr, branches by clang's own account, which has those
of the source alone. (gcc's, which gcovr would count, has two for each call that may throw and one for each temporary.)

Needs a build by clang 16 with --coverage -fprofile-instr-generate -fcoverage-mapping, and the profiles of its tests in
FOLDER/profiles. Names what was not run; fails below 97 % of the lines or 85 % of the branches."""

import collections
import glob
import json
import subprocess
import sys

folder = sys.argv[1]
source = open("nango.hpp", encoding="utf-8").read().splitlines()


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lines():
    """Per cent of the lines, and those that were not run."""
    run("gcovr", "--gcov-executable", "llvm-cov-16 gcov", "-r", ".", "--object-directory", folder, "--filter", "nango.hpp",
        "--json", folder + "/lines.json")
    counts = collections.Counter()
    for file in json.load(open(folder + "/lines.json", encoding="utf-8"))["files"]:
        for line in file["lines"]:
            if not line.get("gcovr/noncode"):
                counts[line["line_number"]] += line["count"]
    missed = sorted(number for number, count in counts.items() if count == 0)
    return 100 * (1 - len(missed) / len(counts)), missed


def branches():
    """Per cent of the branches, over all instantiations of a template, and the conditions that went one way alone."""
    profile = folder + "/profile"
    run("llvm-profdata-16", "merge", "-sparse", "-o", profile, *glob.glob(folder + "/profiles/*"))
    programs = {test["cmd"][0] for test in json.loads(run("meson", "introspect", folder, "--tests"))
                if any(suite.endswith((":unit", ":loopback")) for suite in test["suite"])}
    objects = [argument for program in sorted(programs) for argument in ("-object", program)][1:]
    told = run("llvm-cov-16", "export", "-format=text", "-instr-profile", profile, *objects)
    taken = collections.defaultdict(lambda: [0, 0])
    for function in json.loads(told)["data"][0]["functions"]:
        for begin, column, end, last, true, false, file, *_ in function.get("branches", []):
            if function["filenames"][file].endswith("/nango.hpp"):
                taken[begin, column, end, last][0] += true
                taken[begin, column, end, last][1] += false
    ways = [count for both in taken.values() for count in both]
    missed = [(place, way) for place, both in sorted(taken.items()) for way in (True, False) if both[not way] == 0]
    return 100 * sum(count > 0 for count in ways) / len(ways), missed


line_share, missed_lines = lines()
branch_share, missed_branches = branches()
print("lines that were not run:")
for number in missed_lines:
    print(f"  {number}: {source[number - 1].strip()}")
print("conditions that were never so:")
for (begin, column, end, last), way in missed_branches:
    text = source[begin - 1][column - 1:last - 1 if end == begin else None]
    print(f"  {begin}: {text} {'' if way else 'not '}true")
print(f"lines: {line_share:.1f} % of 97, branches: {branch_share:.1f} % of 85")
sys.exit(0 if line_share >= 97 and branch_share >= 85 else 1)
