#!/usr/bin/env python3
"""Compiles the header in each surrounding that it promises to work in, and runs what can be run here.

matrix.py [--jobs N] [--only TEXT]
matrix.py --readme FILE

Prints one line for each combination: ok, FAIL with what the compiler said, or skipped with what is missing. --only takes
the combinations whose line contains TEXT. It fails where a combination does, and where one was skipped for something
else than upstream's httplib.h, which not every machine has. In the end it prints the tables of what passed; --readme
compiles nothing, and fails where FILE has not the tables of all combinations.

NANGO_UPSTREAM_HTTPLIB: folders of upstream's httplib.h, each named by its release, separated by ':'. NANGO_LIBCXX_16:
where Debian's libc++-16-dev and libc++abi-16-dev are unpacked, since they cannot be installed beside those of 19.
"""

import argparse
import concurrent.futures
import dataclasses
import errno
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
UPSTREAM = {pathlib.Path(folder).name: folder for folder in os.environ.get("NANGO_UPSTREAM_HTTPLIB", "").split(":")}
NEWEST = "0.53.1"
BETWEEN = ["0.12.6", "0.14.3", "0.18.7", "0.28.0", "0.40.0", "0.48.0"]
LIBCXX_16 = os.environ.get("NANGO_LIBCXX_16", "")
WARNINGS = ("-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wnon-virtual-dtor "
            "-Wundef -Wzero-as-null-pointer-constant -Werror").split()

CORE = ["core_a.cpp", "core_b.cpp"]
HTTPLIB = ["httplib_a.cpp", "httplib_b.cpp"]
NEEDS_UPSTREAM = "NANGO_UPSTREAM_HTTPLIB"
NO_HTTPLIB = ["-DNANGO_NO_HTTPLIB"]
TLS = ["-DCPPHTTPLIB_OPENSSL_SUPPORT"]
LIBCXX_16_FLAGS = ["-nostdinc++", "-isystem", f"{LIBCXX_16}/usr/lib/llvm-16/include/c++/v1", "-nostdlib++",
                   f"-L{LIBCXX_16}/usr/lib/llvm-16/lib", f"-Wl,-rpath,{LIBCXX_16}/usr/lib/llvm-16/lib", "-lc++", "-lc++abi"]


@dataclasses.dataclass
class Combination:
    compiler: str
    standard: str
    library: str
    backend: str
    what: str
    sources: list       # or (source, what it alone is compiled with)
    flags: list
    libraries: list
    missing: str = ""   # what has to be there for it, and is not
    runs: bool = True
    own_include: bool = True  # by -I
    emulator: str = ""  # what runs it

    def title(self):
        return " | ".join([self.compiler, self.standard, self.library, self.backend, self.what])


def core(compiler, standard, library="libstdc++", what="", flags=(), sources=CORE, **more):
    return Combination(compiler, standard, library, "custom", what, sources, [*NO_HTTPLIB, *flags], [], **more)


def packaged(compiler, standard, what="", flags=(), sources=HTTPLIB, **more):
    return Combination(compiler, standard, "libstdc++", "httplib 0.11.4", what, sources, [*TLS, *flags],
                       ["-lcpp-httplib", "-lssl", "-lcrypto"], **more)


def upstream(compiler, standard, library="libstdc++", what="", flags=(), sources=HTTPLIB, libraries=(), release=NEWEST,
             **more):
    more["missing"] = more.get("missing") or ("" if release in UPSTREAM else NEEDS_UPSTREAM)
    return Combination(compiler, standard, library, f"httplib {release}", what, sources,
                       [*TLS, *flags, "-isystem", UPSTREAM.get(release, "")], [*libraries, "-lssl", "-lcrypto"], **more)


def split_httplib(to):
    """The newest release as distributions split it: a header of declarations, and a unit that is compiled once."""
    border = "// " + 76 * "-"
    text = pathlib.Path(UPSTREAM[NEWEST], "httplib.h").read_text()
    declared, defined, end = re.split(rf"^{border}\n", text, flags=re.MULTILINE)
    to.mkdir()
    (to / "httplib.h").write_text(declared + end)
    (to / "httplib.cc").write_text('#include "httplib.h"\nnamespace httplib {\n' +
                                   re.sub(r"^( *)inline ", r"\1", defined, flags=re.MULTILINE) + "}\n")


def copy_json(to, version_patch=None):
    """nlohmann/json as it is installed, for a compiler that does not look there; or to stand for another version."""
    shutil.copytree("/usr/include/nlohmann", to / "nlohmann")
    if version_patch is not None:
        macros = to / "nlohmann/detail/abi_macros.hpp"
        line = "#define NLOHMANN_JSON_VERSION_PATCH "
        macros.write_text(re.sub(line + r"\d+", line + version_patch, macros.read_text()))


def combinations(folder):
    libcxx_16 = {"library": "libc++ 16", "flags": LIBCXX_16_FLAGS, "missing": "" if LIBCXX_16 else "NANGO_LIBCXX_16"}
    libcxx_19 = {"library": "libc++ 19", "flags": ["-stdlib=libc++"]}
    hostile = ["-include", str(HERE / "hostile.hpp")]
    no_exceptions = ["-fno-exceptions", "-fno-rtti"]
    yield core("g++-12", "c++20")
    yield core("g++-12", "c++23")
    yield core("clang++-14", "c++20")
    yield core("clang++-14", "c++2b")
    yield core("clang++-16", "c++20")
    yield core("clang++-16", "c++2b")
    yield core("clang++-19", "c++20")
    yield core("clang++-19", "c++2c")
    yield core("clang++-16", "c++20", **libcxx_16)
    yield core("clang++-19", "c++20", **libcxx_19)
    yield core("clang++-19", "c++2c", **libcxx_19)
    yield packaged("g++-12", "c++20")
    yield packaged("clang++-14", "c++20")
    yield packaged("clang++-16", "c++2b")
    yield packaged("clang++-19", "c++2c")
    yield upstream("g++-12", "c++20")
    yield upstream("clang++-14", "c++20")
    yield upstream("clang++-16", "c++2b")
    yield upstream("clang++-19", "c++2c")
    yield upstream("clang++-16", "c++20", **libcxx_16)
    yield upstream("clang++-19", "c++2c", **libcxx_19)
    yield core("clang++-19", "c++20", what="no exceptions, no RTTI", flags=no_exceptions, sources=["../no_exceptions.cpp"])
    for release in BETWEEN:
        yield upstream("g++-12", "c++20", what="releases between", sources=["global_client.cpp"], release=release)
    zlib = ["-DCPPHTTPLIB_ZLIB_SUPPORT"]
    yield packaged("clang++-16", "c++20", what="with zlib", flags=zlib, sources=["global_client.cpp"])
    yield upstream("clang++-16", "c++20", what="with zlib", flags=zlib, libraries=["-lz"], sources=["global_client.cpp"])
    split = folder / "split"
    yield upstream("g++-12", "c++20", what="split into header and unit", flags=["-isystem", str(split)],
                   sources=["global_client.cpp", (str(split / "httplib.cc"), ["-w"])])
    yield core("g++-12", "c++20", what="no exceptions, no RTTI", flags=no_exceptions)
    yield packaged("g++-12", "c++20", what="no exceptions, no RTTI", flags=no_exceptions)
    yield upstream("g++-12", "c++20", what="no exceptions, no RTTI", flags=[*no_exceptions, "-DCPPHTTPLIB_NO_EXCEPTIONS"])
    yield core("x86_64-w64-mingw32-g++-posix", "c++20", what="`<windows.h>` first", runs=False,
               flags=["-include", "windows.h", "-isystem", str(folder / "json")])
    # Debian's gcc-multilib, which links /usr/include/asm, cannot be installed beside cross compilers.
    yield core("g++-12", "c++20", what="32 bits", flags=["-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"])
    # /usr/include last: JSON is there, and this machine's C library. (processors.sh runs the unit tests there.)
    for triple, emulator, what in [("arm-linux-gnueabihf", "qemu-arm", "32-bit ARM, run by qemu"),
                                   ("s390x-linux-gnu", "qemu-s390x", "s390x (big-endian), run by qemu")]:
        yield core(f"{triple}-g++-12", "c++20", what=what, emulator=emulator,
                   flags=["-static", "-Wno-psabi", "-idirafter", "/usr/include"])
    yield core("g++-12", "c++20", what="hostile macros", flags=hostile)
    yield core("clang++-19", "c++2c", what="hostile macros", flags=["-stdlib=libc++", *hostile], library="libc++ 19")
    yield packaged("g++-12", "c++20", what="hostile macros", flags=hostile, sources=["../alone.cpp"])
    yield upstream("g++-12", "c++20", what="hostile macros", flags=hostile, sources=["../alone.cpp"])
    yield core("g++-12", "c++20", what="`JSON_DIAGNOSTICS`", flags=["-DJSON_DIAGNOSTICS=1"])
    yield core("g++-12", "c++20", what="`JSON_NOEXCEPTION`", flags=["-DJSON_NOEXCEPTION"])
    yield core("g++-12", "c++20", what="another version of JSON beside it", sources=[*CORE, ("other_json.cpp", ["-isystem", str(folder / "other_json")])])
    yield core("g++-12", "c++20", what="`_GLIBCXX_DEBUG`", flags=["-D_GLIBCXX_DEBUG"])
    yield core("g++-12", "c++20", what="`-O2`", flags=["-O2"])
    yield core("clang++-19", "c++2c", what="`-O2`", flags=["-O2"])
    yield packaged("g++-12", "c++20", what="`-O2 -fno-strict-aliasing -fvisibility=hidden`",
                   flags=["-O2", "-fno-strict-aliasing", "-fvisibility=hidden"])
    for compiler in ["g++-12", "clang++-16", "clang++-19"]:
        yield core(compiler, "c++20", what="`-Wformat=2 -Weffc++`", flags=["-Wformat=2", "-Weffc++"])
    yield core("g++-12", "c++20", what="`-O2 -Wnull-dereference`", flags=["-O2", "-Wnull-dereference"])
    yield core("g++-12", "c++20", what="`-O2 -Wnull-dereference`, included by `-isystem`",
               flags=["-O2", "-Wnull-dereference", "-isystem", str(ROOT)], own_include=False)
    for compiler in ["g++-12", "clang++-16"]:
        yield core(compiler, "c++20", what="`-fno-char8_t`", flags=["-fno-char8_t"])
    yield packaged("g++-12", "c++20", what="a global client", sources=["global_client.cpp"])
    yield packaged("g++-12", "c++20", what="units with and without `NANGO_NO_HTTPLIB`, `-flto -Wodr`",
                   flags=["-flto", "-Wodr"], sources=["httplib_a.cpp", "httplib_b.cpp", "without_httplib.cpp"])


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **more)


def play(number, combination, folder):
    """What came of it: ok, skipped or FAIL, and the line to print."""
    programs = [combination.compiler, *combination.emulator.split()]
    missing = combination.missing or ", ".join(name for name in programs if not shutil.which(name))
    if missing:
        return "skipped", f"skipped | {combination.title()} | {missing} is missing"
    program = folder / f"program-{number}"
    compiler = [combination.compiler, f"-std={combination.standard}", *WARNINGS,
                *([f"-I{ROOT}"] if combination.own_include else []), *combination.flags]
    inputs = []
    for source in combination.sources:
        if isinstance(source, tuple):
            inputs.append(str(folder / f"unit-{number}.o"))
            made = run([*compiler, *source[1], "-c", str(HERE / source[0]), "-o", inputs[-1]])
            if made.returncode != 0:
                return "FAIL", f"FAIL | {combination.title()} | {source[0]}\n{made.stdout[:6000]}"
        else:
            inputs.append(str(HERE / source))
    command = [*compiler, *inputs, "-o", str(program), "-pthread", *combination.libraries]
    made = run(command)
    if made.returncode != 0:
        return "FAIL", f"FAIL | {combination.title()}\n{' '.join(command)}\n{made.stdout[:6000]}"
    how = "compiled only"
    if combination.runs:
        try:
            ended = run([*combination.emulator.split(), str(program)])
        except OSError as e:  # a kernel without 32 bits
            if e.errno != errno.ENOEXEC:
                raise
            how = "compiled only: this machine cannot run it"
        else:
            how = "ran"
            if ended.returncode != 0:
                return "FAIL", f"FAIL | {combination.title()} | it ends with {ended.returncode}\n{ended.stdout[:2000]}"
    return "ok", f"ok | {combination.title()} | {how}"


def tables(combinations_of_it):
    """For tests/README.md: where nothing is special, by compiler and library; then the special surroundings."""
    plain, special = {}, {}
    for c in combinations_of_it:
        if c.what:
            special.setdefault(c.what, {})[f"{c.compiler}, {c.backend}"] = None  # each once, in their order
        else:
            row = plain.setdefault((c.compiler, c.library), {})
            row.setdefault(c.backend, []).append("C++" + c.standard[3:].replace("b", "3").replace("c", "6"))
    backends = ["custom", "httplib 0.11.4", "httplib 0.53.1"]
    lines = ["| compiler | library | backend of your own | httplib 0.11.4 | httplib 0.53.1 |", "|---|---|---|---|---|"]
    for (compiler, library), row in plain.items():
        lines.append(f"| {compiler} | {library} | " + " | ".join(", ".join(row.get(b, [])) for b in backends) + " |")
    lines += ["", "| surrounding | with |", "|---|---|"]
    for what, where in special.items():
        lines.append(f"| {what} | {'; '.join(where)} |")
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments.add_argument("--only", default="")
    arguments.add_argument("--readme")
    wanted = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        chosen = [c for c in combinations(folder) if wanted.only in c.title()]
        if wanted.readme:
            readme = pathlib.Path(wanted.readme).read_text()
            if all(table in readme for table in tables(chosen).split("\n\n")):
                return 0
            print(f"{wanted.readme} has not these tables:\n{tables(chosen)}")
            return 1
        if NEWEST in UPSTREAM:
            split_httplib(folder / "split")
        copy_json(folder / "json")
        copy_json(folder / "other_json", "99")
        with concurrent.futures.ThreadPoolExecutor(wanted.jobs) as pool:
            outcomes = []
            for outcome, line in pool.map(lambda pair: play(*pair, folder), enumerate(chosen)):
                print(line, flush=True)
                outcomes.append(outcome)
    print("\n" + tables(c for c, outcome in zip(chosen, outcomes) if outcome == "ok") + "\n")
    print(f"{outcomes.count('ok')} ok, {outcomes.count('FAIL')} failed, {outcomes.count('skipped')} skipped")
    if not chosen:
        return 1
    unexpected = [c for c, outcome in zip(chosen, outcomes) if outcome == "skipped" and c.missing != NEEDS_UPSTREAM]
    return 1 if "FAIL" in outcomes or unexpected else 0


sys.exit(main())
