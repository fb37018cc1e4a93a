#!/usr/bin/env python3
"""What a call executes above json::parse and the wire, in instructions, which no other program on the machine changes.

    meson compile -C build bench_instructions && tests/bench/instructions.py build/tests/bench/bench_instructions

Counts with callgrind, prints instructions and ratios, and fails where a ratio is more than 3 % above the stored one
(instructions.json, beside this file). Ratios are to json::parse of the same bytes; of a POST, to json::parse and the
dump of its body. The backend's own instructions (it copies the answer) are in them. A send parses nothing: of its ratio
3 % are few instructions.

    --store           writes the ratios instead of comparing them
    --profile PART    shows the functions that PART has more instructions in than json::parse has
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

MARGIN = 1.03
ROUNDS = 1000  # of instructions.cpp
STORED = pathlib.Path(__file__).with_name("instructions.json")
BASES = {"get": ["parse"], "post": ["parse", "dump"], "send": ["parse"]}


def run(program, folder):
    """The dump of each part, by its name."""
    subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "-q", program],
                   check=True, stderr=subprocess.DEVNULL)
    dumps = {}
    for path in sorted(pathlib.Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:])):
        part = re.search(r"^desc: Trigger: Client Request: (.*)$", path.read_text(), re.M)
        if part:
            dumps[part[1]] = path
    return dumps


def count(path):
    return int(re.search(r"^totals: (\d+)$", path.read_text(), re.M)[1]) / ROUNDS


def ratios(counts):
    result = {}
    for part in counts:
        base = BASES.get(part.split(",")[0])
        if base:
            result[part] = counts[part] / sum(counts[name] for name in base)
    return result


def by_function(path):
    """Instructions of each function, without what it calls."""
    command = ["callgrind_annotate", "--auto=no", "--threshold=100", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in text.splitlines():
        row = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+\S*?:(.*?)(?: \[.*\])?$", line)
        if row:
            found[row[2]] = found.get(row[2], 0) + int(row[1].replace(",", "")) / ROUNDS
    return found


def show_profile(dumps, part):
    base, whole = by_function(dumps["parse"]), by_function(dumps[part])
    more = {name: own - base.get(name, 0) for name, own in whole.items()}
    for name, own in sorted(more.items(), key=lambda row: -abs(row[1])):
        if abs(own) >= 10 and not re.search(r"detail::(lexer|parser)<|main", name):  # named by what they read from
            print(f"{own:8.0f}  {name[:180]}")


def compare(now):
    stored = json.loads(STORED.read_text())
    if stored.keys() != now.keys():
        print("instructions.json has other parts: --store writes it")
        return False
    worse = [part for part in now if now[part] > stored[part] * MARGIN]
    for part in worse:
        print(f"FAIL: {part}: {now[part]:.3f}, more than 3 % above the stored {stored[part]:.3f}")
    for part in now:
        if now[part] < stored[part] / MARGIN:
            print(f"better than stored: {part}: {now[part]:.3f}, was {stored[part]:.3f} (--store keeps it)")
    return not worse


def main():
    program, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        dumps = run(program, folder)
        if options[:1] == ["--profile"]:
            return show_profile(dumps, options[1])
        counts = {part: count(path) for part, path in dumps.items()}
    now = ratios(counts)
    print(f"{'instructions':>12}  {'ratio':>6}")
    for part, instructions in counts.items():
        print(f"{instructions:12.0f}  {f'{now[part]:.3f}' if part in now else '':>6}  {part}")
    if options == ["--store"]:
        STORED.write_text(json.dumps({part: round(ratio, 3) for part, ratio in now.items()}, indent=2) + "\n")
        return 0
    return 0 if compare(now) else 1


if __name__ == "__main__":
    sys.exit(main())
