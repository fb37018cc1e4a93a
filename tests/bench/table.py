#!/usr/bin/env python3
"""What a call costs, beside what it could cost: each figure with its goal.

    tests/bench/table.py [build folder]       # build; takes about 5 minutes

Builds what it needs in a build folder of meson's and prints one table; the figures of the wire for the packaged httplib
and, where NANGO_UPSTREAM_HTTPLIB named the folder of upstream's when the build folder was set up, for that one too.
What cannot be built here (no valgrind, Google Benchmark, HAProxy or nginx) is named and left out. A figure passes by
its value; the interval says how sure the value is. Figures of time mean something on a machine that does little else.
"""
import json
import operator
import pathlib
import subprocess
import sys
import tempfile

import instructions

MET = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


def row(httplib, figure, goal, value, interval="", remarks=""):
    """One line of the table; figures that were skipped have no goal."""
    passed = ""
    if goal:
        relation, limit = goal.split()
        passed = "pass" if MET[relation](float(value), float(limit)) else "**fail**"
    print("|", " | ".join([figure, httplib, goal, value, interval, passed, remarks]), "|", flush=True)


def built(build, name):
    """The program; nothing where it is not to be had."""
    made = subprocess.run(["meson", "compile", "-C", build, name], capture_output=True, text=True)
    if "target not found" in made.stdout + made.stderr:
        print(f"skipped: {name} (meson setup says what it needs)", file=sys.stderr)
        return None
    if made.returncode != 0:
        sys.exit(made.stdout + made.stderr)
    return str(pathlib.Path(build, "tests/bench", name).resolve())


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def show_instructions(program):
    with tempfile.TemporaryDirectory() as folder:
        counts = {part: instructions.count(path) for part, path in instructions.run(program, folder).items()}
    for part, ratio in instructions.ratios(counts).items():
        if not part.startswith("send"):
            row("", f"instructions: {part} / json::parse", "<= 1.08", f"{ratio:.3f}")


def show_limiter(program):
    wanted = "uncontended<nango::sliding_window>/5000$|bytes<nango::sliding_window>/1/"
    found = json.loads(output_of(program, "--benchmark_format=json", f"--benchmark_filter={wanted}"))["benchmarks"]
    for one in found:
        if "bytes_per_key" in one:
            row("", "bytes for a key with one recent call", "< 200", f"{one['bytes_per_key']:.0f}")
        else:
            row("", "permit, uncontended, 5,000 keys, ns", "< 300", f"{one['real_time']:.0f}")


def show_lines(httplib, *command):
    """Of a program that writes what the columns say, with tabs between them."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            row(httplib, *line.rstrip("\n").split("\t"))
    if process.returncode != 0:
        sys.exit(f"failed: {command[0]}")


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    names = ["instructions", "allocations", "lists", "limiter", "wire", "wire_upstream"]
    programs = {name: built(build, "bench_" + name) for name in names}
    print("| figure | httplib | goal | value | 95 % | | |\n|---|---|---|---:|---|---|---|", flush=True)
    shows = {"instructions": show_instructions,
             "allocations": lambda program: show_lines("", program),
             "lists": lambda program: show_lines("", program),
             "limiter": show_limiter,
             "wire": lambda program: show_lines("packaged", program),
             "wire_upstream": lambda program: show_lines("upstream", program)}
    for name, program in programs.items():
        if program:
            shows[name](program)


if __name__ == "__main__":
    main()
