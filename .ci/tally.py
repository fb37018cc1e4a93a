"""Prints how many test cases passed and failed, from Meson's testlog.json: a doctest program counts its cases, any other
test is one."""

import json
import re
import sys

passed = failed = 0
for line in open(sys.argv[1], encoding="utf-8"):
    test = json.loads(line)
    cases = re.search(r"test cases: +\d+ \| +(\d+) passed \| +(\d+) failed", test.get("stdout", ""))
    if test["result"] == "SKIP":
        continue
    if cases and (test["result"] == "OK" or int(cases[2]) > 0):
        passed += int(cases[1])
        failed += int(cases[2])
    elif test["result"] == "OK":
        passed += 1
    else:  # crashed, hung, or failed without saying in which case
        failed += 1
print(passed, failed)
