#!/usr/bin/env python3
"""Builds and runs users' projects against an installed copy of the header, each in a folder of its own.

consumers.py install PREFIX   installs this checkout there, as the README says
consumers.py NAME PREFIX      one project; ends with 77, Meson's "skipped", where a program is missing

Each copy of the header has the project's name in its version, which the program prints, so that no other header that
happens to be found can pass for it.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
SOURCES = ["nango.hpp", "meson.build", ".cmake", "examples", "tests", "README.md", "LICENSE"]  # and no build folder
OWN_HTTPLIB = "99.0.0"
# As if cpp-httplib or OpenSSL were not installed: the first three together are for cpp-httplib.
NO_HTTPLIB = "-DCMAKE_DISABLE_FIND_PACKAGE_httplib=ON"
NO_HEADER = "-DNANGO_HTTPLIB_HEADER_DIR="
NO_PACKAGES = {"PKG_CONFIG_LIBDIR": "/nowhere", "PKG_CONFIG_PATH": ""}
NO_OPENSSL = "-DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON"
LINK_HTTPLIB = "-DCMAKE_CXX_STANDARD_LIBRARIES=-lcpp-httplib"  # the packaged header is only one half of the library


def run(*command, fails_with=None, **env):
    """What it said. The test ends here if it fails; with `fails_with`, unless it fails and says that."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, **env})
    good = done.returncode == 0
    if fails_with is not None:
        good = done.returncode != 0 and fails_with in " ".join(done.stdout.split())
    if not good:
        wanted = f", and should have failed with: {fails_with}" if fails_with else ""
        sys.exit(f"{done.stdout}{' '.join(map(str, command))}\nended with {done.returncode}{wanted}")
    return done.stdout


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print(f"skipped: {program} is missing")
            sys.exit(77)


def change(path, before, after):
    text = path.read_text()
    if not re.search(before, text):
        sys.exit(f"{path}: nothing matches {before}")
    path.write_text(re.sub(before, after, text))


def copy_checkout(to):
    pathlib.Path(to).mkdir()
    for part in SOURCES:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, pathlib.Path(to) / part)


def mark(header, name):
    change(header, r'(#define NANGO_VERSION "[0-9.]*).*"', rf'\1+{name}"')


def copied_header(prefix, name):
    shutil.copy(prefix / "include/nango.hpp", ".")
    mark(pathlib.Path("nango.hpp"), name)


def moved(prefix, name):
    """What was installed, in another place, where CMake's config has to find the header; and as a later patch."""
    place = pathlib.Path("moved").resolve()
    shutil.copytree(prefix, place)
    mark(place / "include/nango.hpp", name)
    change(place / "share/cmake/nango/nango-config-version.cmake", r'(PACKAGE_VERSION "\d+\.\d+)\.\d+', r"\1.99")
    return place


def packaged_httplib():
    """Where the compiler finds it."""
    rule = subprocess.check_output(["g++", "-M", "-x", "c++", "-include", "httplib.h", "/dev/null"], text=True)
    return pathlib.Path(re.search(r"\S+/httplib\.h", rule)[0])


def check(program, name, backend="httplib [0-9.]+"):
    said = run(program)
    if not re.fullmatch(rf"nango\.hpp [0-9.]+\+{name} with {backend}: .+\n", said):
        sys.exit(f"it should have named {name} and {backend}, and said: {said}")


def repository(folder):
    """The address of a git repository made of all that is in the folder."""
    git = ["git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    run(*git, "init", "--quiet")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--message=All of it")
    return pathlib.Path(folder).resolve().as_uri()


def own_copy(folder, target, definition=""):
    """A folder with a package's header and a CMakeLists.txt as its upstream has it."""
    name = target.split("::")[0]
    pathlib.Path(folder, "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.19)\nproject({name} CXX)\nadd_library({name} INTERFACE)\n"
        f"add_library({target} ALIAS {name})\ntarget_include_directories({name} INTERFACE ${{CMAKE_CURRENT_SOURCE_DIR}})\n"
        f"target_compile_definitions({name} INTERFACE {definition})\n")


def marked_httplib(folder):
    pathlib.Path(folder).mkdir(parents=True)
    shutil.copy(packaged_httplib(), folder)
    change(pathlib.Path(folder, "httplib.h"), '(#define CPPHTTPLIB_VERSION) ".*"', rf'\1 "{OWN_HTTPLIB}"')


def cmake(prefix, *options, fails_with=None, **env):
    need("cmake")
    shutil.rmtree("build", ignore_errors=True)
    run("cmake", "-S", ".", "-B", "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}", *options,
        fails_with=fails_with, **env)
    if fails_with is None:
        run("cmake", "--build", "build")


def gxx_line(prefix):
    need("g++")
    copied_header(prefix, "gxx_line")
    run("sh", "-eu", "build.sh")
    check("./main", "gxx_line")


def gxx_line_beside(prefix):
    """Headers beside nango.hpp go before the installed ones. The copies on this machine stand in for what is fetched."""
    need("g++", "clang++", "curl")
    upstream = os.environ.get("NANGO_UPSTREAM_HTTPLIB", "").split(":")[-1]
    if not upstream:
        print("skipped: NANGO_UPSTREAM_HTTPLIB is not set")
        sys.exit(77)
    copied_header(prefix, "gxx_line_beside")
    version = re.search(r'CPPHTTPLIB_VERSION "(.*)"', pathlib.Path(upstream, "httplib.h").read_text())[1]
    for fetched, stand_in in [("httplib.h", f"{upstream}/httplib.h"), ("json.hpp", "/usr/include/nlohmann/json.hpp")]:
        change(pathlib.Path("build.sh"), rf"https:\S+/{fetched}", pathlib.Path(stand_in).resolve().as_uri())
    for compiler in ["g++", "clang++"]:
        change(pathlib.Path("build.sh"), r"(?m)^\S+\+\+", compiler)
        run("sh", "-eu", "build.sh")
        check("./main", "gxx_line_beside", f"httplib {re.escape(version)}")


def makefile(prefix):
    need("make", "pkg-config")
    path = f"{prefix}/share/pkgconfig:{os.environ.get('PKG_CONFIG_PATH', '')}"
    cflags = run("pkg-config", "--cflags", "nango", PKG_CONFIG_PATH=path).split()
    libs = run("pkg-config", "--libs", "nango", PKG_CONFIG_PATH=path).split()
    if "-pthread" not in cflags or not {"-pthread", "-lcpp-httplib", "-lssl", "-lcrypto"} <= set(libs):
        sys.exit("nango.pc does not name all that the default backend needs")
    run("make", PKG_CONFIG_PATH=path)
    check("./main", "installed")


def cmake_package(prefix):
    older_libc = ["-DCMAKE_HAVE_LIBC_PTHREAD=OFF", "-DTHREADS_PREFER_PTHREAD_FLAG=ON"]  # a newer one links without it
    cmake(moved(prefix, "cmake_package"), *older_libc)
    if "-pthread" not in pathlib.Path("build/build.ninja").read_text():
        sys.exit("nango::nango does not ask for threads")
    check("build/main", "cmake_package")


def cmake_core(prefix):
    """As if cpp-httplib and OpenSSL were not installed."""
    cmake(moved(prefix, "cmake_core"), NO_HTTPLIB, NO_HEADER, NO_OPENSSL, **NO_PACKAGES)
    check("build/main", "cmake_core", "its own backend")


def cmake_plain_header(prefix):
    """The project of cmake_package, as if httplib.h had been copied to where the compiler finds it."""
    cmake(moved(prefix, "cmake_plain_header"), NO_HTTPLIB, LINK_HTTPLIB, **NO_PACKAGES)
    check("build/main", "cmake_plain_header")


def cmake_refusals(prefix):
    """The project of cmake_package, where CMake has to say why not."""
    needs = "nango.hpp's default backend needs cpp-httplib and OpenSSL 3."
    cmake(prefix, NO_OPENSSL, fails_with=needs)
    cmake(prefix, NO_HTTPLIB, NO_HEADER, fails_with=needs, **NO_PACKAGES)
    found = "find_package(nango 0.2 REQUIRED"
    for asked, fails_with in [("find_package(nango 0.2.99 REQUIRED", 'requested version "0.2.99"'),
                              ("find_package(nango 0.0 REQUIRED", 'requested version "0.0"'),
                              (f"{found} COMPONENTS cores", "There is no component cores, but core and nango.")]:
        change(pathlib.Path("CMakeLists.txt"), re.escape(found), asked)
        cmake(prefix, fails_with=fails_with)
        change(pathlib.Path("CMakeLists.txt"), re.escape(asked), found)


def cmake_copy(prefix):
    copied_header(prefix, "cmake_copy")
    cmake("")
    check("build/main", "cmake_copy")


def own_httplib(prefix):
    need("g++", "cmake")
    marked_httplib("third_party")
    cmake(moved(prefix, "own_httplib"), LINK_HTTPLIB)
    check("build/main", "own_httplib", f"httplib {re.escape(OWN_HTTPLIB)}")


def cmake_subdirectory(_):
    """With what is installed; and what is said where that is missing."""
    need("cmake")
    pathlib.Path("third_party").mkdir()
    copy_checkout("third_party/nango")
    mark(pathlib.Path("third_party/nango/nango.hpp"), "cmake_subdirectory")
    cmake("")
    check("build/main", "cmake_subdirectory")
    cmake("", "-DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON", fails_with="nango.hpp needs nlohmann/json 3.11.")
    cmake("", NO_OPENSSL, fails_with="Only nango::core is there: nango.hpp's default backend needs cpp-httplib and OpenSSL 3.")


def cmake_fetch(_):
    """All three by FetchContent, as CPM does it too; nothing that is installed is taken but OpenSSL."""
    need("cmake", "git")
    copy_checkout("nango_repository")
    mark(pathlib.Path("nango_repository/nango.hpp"), "cmake_fetch")
    shutil.copytree("/usr/include/nlohmann", "json_repository/nlohmann")
    own_copy("json_repository", "nlohmann_json::nlohmann_json")
    marked_httplib("httplib_repository")
    own_copy("httplib_repository", "httplib::httplib", "CPPHTTPLIB_OPENSSL_SUPPORT")
    for what in ["json", "httplib", "nango"]:
        placeholder = " REPOSITORY" if what == "nango" else f" {what.upper()}_REPOSITORY"
        change(pathlib.Path("CMakeLists.txt"), placeholder, " " + repository(f"{what}_repository"))
    cmake("", LINK_HTTPLIB, "-DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON", NO_HTTPLIB)
    check("build/main", "cmake_fetch", f"httplib {re.escape(OWN_HTTPLIB)}")


def cmake_port(prefix):
    """The project of cmake_package, with cpp-httplib as vcpkg and Conan lay it out; and a port that has no TLS."""
    marked_httplib("port/include")
    config = pathlib.Path("port/share/httplib/httplib-config.cmake")
    config.parent.mkdir(parents=True)
    text = ("add_library(httplib::httplib INTERFACE IMPORTED)\nset_target_properties(httplib::httplib PROPERTIES "
            'INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}/../../include"')
    config.write_text(text + " INTERFACE_COMPILE_DEFINITIONS CPPHTTPLIB_OPENSSL_SUPPORT)\n")
    prefixes = f"{moved(prefix, 'cmake_port')};{config.parent.parent.parent.resolve()}"
    cmake(prefixes, LINK_HTTPLIB)
    check("build/main", "cmake_port", f"httplib {re.escape(OWN_HTTPLIB)}")
    config.write_text(text + ")\n")
    run("cmake", "build")
    run("cmake", "--build", "build", fails_with="Define CPPHTTPLIB_OPENSSL_SUPPORT for the whole program")


def meson_subproject(_):
    need("git", "meson")
    copy_checkout("repository")
    mark(pathlib.Path("repository/nango.hpp"), "meson_subproject")
    change(pathlib.Path("subprojects/nango.wrap"), "REPOSITORY", repository("repository"))
    run("meson", "setup", "build", "--buildtype=plain", "--force-fallback-for=nango")  # also where nango is installed
    targets = [target["name"] for target in json.loads(run("meson", "introspect", "--targets", "build"))]
    if targets != ["core", "main"]:
        sys.exit(f"as a subproject it should build nothing of its own, and builds {targets}")
    run("meson", "compile", "-C", "build")
    check("build/main", "meson_subproject")
    check("build/core", "meson_subproject", "its own backend")


def install(prefix):
    shutil.rmtree(prefix, ignore_errors=True)
    copy_checkout("checkout")
    os.chdir("checkout")
    said = run("sh", "-eu", HERE / "install.sh", PREFIX=str(prefix))
    if looked_for := re.findall(r"haproxy|redis|benchmark|doctest|curl|CLI11|clang", said, re.IGNORECASE):
        sys.exit(f"{said}\nwho only installs waits while meson looks for {looked_for}")
    mark(prefix / "include/nango.hpp", "installed")


PROJECT = {"cmake_plain_header": "cmake_package", "cmake_refusals": "cmake_package", "cmake_port": "cmake_package"}  # where it is not the name

name, prefix = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
with tempfile.TemporaryDirectory() as folder:
    if name != "install":
        shutil.copytree(HERE / PROJECT.get(name, name), folder, dirs_exist_ok=True)
        for source in HERE.glob("*.cpp"):
            shutil.copy(source, folder)
    os.chdir(folder)
    globals()[name](prefix)
    os.chdir("/")
