"""Prints how many test cases passed and failed, from Meson's testlog.json: a doctest program counts its cases, any other
test is one. With --failed and a log: what of it says why something failed."""

import json
import re
import sys


def tally(path):
    passed = failed = 0
    for line in open(path, encoding="utf-8"):
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


def failures(path, most=60):
    lines = open(path, encoding="utf-8", errors="replace").read().splitlines()
    telling = re.compile(r"\bFAIL|FAILED|TIMEOUT|ERROR|error:|broken:|WARNING: ThreadSanitizer|SUMMARY|values:|logged:|"
                         r"TEST CASE:|SURVIVED")
    told = [line for line in lines if telling.search(line)] or lines
    print("\n".join(line[:300] for line in told[-most:]))


if sys.argv[1] == "--failed":
    failures(sys.argv[2])
else:
    tally(sys.argv[1])
