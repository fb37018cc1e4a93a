"""Checks what the documentation shows against what the tests build. ROOT is the folder of README.md.

extract QUICKSTART OUTPUT   writes the program between the quickstart's two markers
check README QUICKSTART     fails where the README's first C++ block is another program
snippets ROOT               fails where another C++ block of a page is not what stands in the file that the line above it
                            names, <!-- examples/error_handling.cpp: each code -->, from `// [each code]` to `// [end]`;
                            where markers do not pair; or where a marked piece is shown on no page, or twice
links ROOT                  fails where a relative link leads to no file, or its #anchor to no heading, by GitHub's rules
install ROOT                fails where a block of an INSTALL section is in no project of tests/compile/consumers, or a
                            project in no block
self_test                   fails where `snippets` or `links` passes a page that is wrong
"""

import collections
import contextlib
import difflib
import io
import pathlib
import re
import sys
import tempfile
import textwrap
import urllib.parse

PAGES = ["README.md", "examples/README.md", "tests/README.md", "tests/bench/README.md"]
INSTALL = {"README.md": "Install", "examples/README.md": "More ways to build with it"}
INCLUDES = '#include "nango.hpp"\n#include <iostream>\n'
FIVE_LINES = "the five-line program"


def program(quickstart):
    text = open(quickstart, encoding="utf-8").read()
    found = re.search(rf"// \[{FIVE_LINES}\]\n(.*?) *// \[end\]\n", text, re.DOTALL)
    if not found:
        sys.exit(f"{quickstart}: the markers are missing")
    return found.group(1)


def compare(expected, shown, source, page):
    if shown != expected:
        sys.stdout.writelines(difflib.unified_diff(
            expected.splitlines(True), shown.splitlines(True), str(source), str(page)))
        sys.exit(f"{page}: this is not the code of {source}")


def check(readme, quickstart):
    found = re.search(r"```cpp\n(.*?)```", open(readme, encoding="utf-8").read(), re.DOTALL)
    compare(INCLUDES + program(quickstart) + "}\n", found.group(1) if found else "", quickstart, readme)


def pages(root):
    """The texts of those that are there, by their names."""
    paths = {page: pathlib.Path(root, page) for page in PAGES}
    return {page: path.read_text(encoding="utf-8") for page, path in paths.items() if path.exists()}


def marked(path):
    """The pieces of a file by their names."""
    pieces, name, lines = {}, None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(True), 1):
        marker = re.fullmatch(r" *// \[([^\]]+)\]\n", line)
        if not marker:
            lines.append(line)
        elif (marker[1] == "end") != (name is not None) or marker[1] in pieces:
            sys.exit(f"{path}:{number}: [{marker[1]}] ends nothing, begins within another, or is there twice")
        elif name is None:
            name, lines = marker[1], []
        else:
            pieces[name], name = textwrap.dedent("".join(lines)), None
    if name is not None:
        sys.exit(f"{path}: [{name}] has no end")
    return pieces


def snippets(root):
    root = pathlib.Path(root)
    sources = [path for path in sorted((root / "examples").rglob("*")) if path.suffix in (".cpp", ".hpp")]
    sources += (root / "tests").glob("readme_*.cpp")
    files = {path.relative_to(root).as_posix(): marked(path) for path in sources}
    shown = collections.Counter()
    for page, text in pages(root).items():
        blocks = re.findall(r"(?:<!-- (\S+): (.*?) -->\n)?^```cpp\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        blocks = blocks[1:] if page == "README.md" else blocks
        for path, name, code in blocks:
            if not path:
                sys.exit(f"{page}: this block does not say whose it is:\n{code}")
            if name not in files.get(path, {}):
                sys.exit(f"{page}: {path} has no [{name}]")
            compare(files[path][name], code, f"{path}: {name}", page)
            shown[f"{path}: {name}"] += 1
        if len(re.findall(r"^<!-- *(?:examples|tests)/", text, re.MULTILINE)) != len(blocks):
            sys.exit(f"{page}: a comment stands above no C++ block")
    for piece in (f"{path}: {name}" for path, pieces in files.items() for name in pieces if name != FIVE_LINES):
        if shown[piece] != 1:
            sys.exit(f"{piece} is shown {shown[piece]} times, and not once")


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """What GitHub makes of the headings: a number follows a name that was there before."""
    seen, found = collections.Counter(), set()
    for heading in re.findall(r"^#{1,6} +(.*?) *$", without_code(text), re.MULTILINE):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # a link's text
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(root):
    root, count = pathlib.Path(root).resolve(), 0
    for page, text in pages(root).items():
        prose = re.sub(r"(`+).*?\1", "", without_code(text))
        if re.search(r"\]\[|^ *\[[^\]]+\]:", prose, re.MULTILINE):
            sys.exit(f"{page}: write links as [text](target), which are checked")
        for target in re.findall(r"\]\(([^)\s]*)[^)]*\)", prose):
            if re.match(r"\w+:", target):
                continue
            path, _, anchor = urllib.parse.unquote(target).partition("#")
            file = (root / page).parent / path if path else root / page
            if not file.exists() or root not in [file.resolve(), *file.resolve().parents]:
                sys.exit(f"{page}: ({target}) leads to no file")
            if anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text(encoding="utf-8"))):
                sys.exit(f"{page}: ({target}) leads to no heading")
            count += 1
    print(f"{count} links")


def install(root):
    projects = [path for path in pathlib.Path(root, "tests/compile/consumers").iterdir()
                if path.suffix not in (".cpp", ".py")]
    files = [(project, path) for project in projects for path in [project, *project.rglob("*")] if path.is_file()]
    unseen = set(projects)
    for page, heading in INSTALL.items():
        section = re.search(rf"\n## {heading}\n(.*?)(?=\n## |\Z)", pages(root)[page], re.DOTALL)
        blocks = re.findall(r"```(?!cpp)\w+\n(.*?)```", section.group(1) if section else "", re.DOTALL)
        if not blocks:
            sys.exit(f"{page}: the section {heading} has no blocks")
        for block in blocks:
            shown = {project for project, path in files if "\n" + block in "\n" + path.read_text(encoding="utf-8")}
            if not shown:
                sys.exit(f"{page}: no project of tests/compile/consumers has these lines:\n{block}")
            unseen -= shown
    if unseen:
        sys.exit(f"the sections {INSTALL} do not show {sorted(map(str, unseen))}")


def test_page(what, function, files, expected):
    """`function` says what is expected of these files (None: nothing)."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        said = None
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the differences that it is to find
                function(folder)
        except SystemExit as end:
            said = str(end)
    if (said is None) != (expected is None) or (expected or "") not in (said or ""):
        sys.exit(f"{what}: said {said!r}, expected {expected!r}")


def self_test():
    source = "int main() {\n  // [one]\n  if (a)\n    b();\n  // [end]\n}\n"
    first, shows = "```cpp\n#include\n```\n\n", "<!-- examples/a.cpp: one -->\n```cpp\nif (a)\n  b();\n```\n"
    cases = [  # what it is, README, a.cpp, what it must say
        ("the same", shows, source, None),
        ("the README differs", shows.replace("b()", "c()"), source, "not the code of examples/a.cpp: one"),
        ("the example differs", shows, source.replace("b()", "c()"), "not the code of examples/a.cpp: one"),
        ("another indentation", shows.replace("  b", "    b"), source, "not the code of examples/a.cpp: one"),
        ("a line less", shows.replace("  b();\n", ""), source, "not the code of examples/a.cpp: one"),
        ("no such marker", shows.replace("one", "two"), source, "examples/a.cpp has no [two]"),
        ("no such file", shows.replace("a.cpp", "b.cpp"), source, "examples/b.cpp has no [one]"),
        ("no block", shows.replace("```cpp", "```sh"), source, "above no C++ block"),
        ("text between", shows.replace("```cpp", "So:\n```cpp"), source, "does not say whose it is"),
        ("a comment misspelt", shows.replace(": one", " one"), source, "does not say whose it is"),
        ("no comment", shows[shows.index("```"):], source, "does not say whose it is"),
        ("not shown", "", source, "examples/a.cpp: one is shown 0 times"),
        ("one of two not shown", shows, source + source.replace("one", "two"), "a.cpp: two is shown 0 times"),
        ("shown twice", shows + shows, source, "examples/a.cpp: one is shown 2 times"),
        ("without markers", "", "int main() {}\n", None),
        ("the quickstart's", "", source.replace("one", FIVE_LINES), None),
        ("no end", shows, source.replace("  // [end]\n", ""), "[one] has no end"),
        ("no beginning", shows, source.replace("  // [one]\n", ""), "[end] ends nothing"),
        ("one within another", shows, source.replace("  if", "  // [two]\n  if"), "[two] ends nothing, begins within"),
        ("there twice", shows, source + source, "there twice"),
    ]
    for what, readme, text, expected in cases:
        test_page(what, snippets, {"examples/a.cpp": text, "README.md": first + readme}, expected)
    for page in PAGES[1:]:
        files = {"examples/a.cpp": source, "README.md": first, page: shows}
        test_page(f"shown by {page}", snippets, files, None)
        test_page(f"{page} differs", snippets, {**files, page: shows.replace("b()", "c()")}, f"{page}: this is not")

    other = "# Tests, and more\n## `a` of [b](c.md) - _d_!\n## Twice\n## Twice\n```sh\n# no heading\n```\n"
    targets = [  # a link, what it must say
        ("tests/README.md", None), ("tests/", None), ("https://example.com/#x", None), ("#here", None),
        ("tests/README.md#tests-and-more", None), ("tests/README.md#a-of-b---_d_", None),
        ("tests/README.md#twice", None), ("tests/README.md#twice-1", None),
        ("tests/none.md", "leads to no file"), ("../", "leads to no file"), ("#there", "leads to no heading"),
        ("tests/README.md#no-heading", "leads to no heading"), ("tests/README.md#twice-2", "leads to no heading"),
        ("tests/README.md#Twice", "leads to no heading"), ("tests/#twice", "leads to no heading"),
    ]
    for target, expected in targets:
        files = {"README.md": f"# Here\n[a link]({target})\n", "tests/README.md": other.replace("[b](c.md)", "b")}
        test_page(target, links, files, expected)
    test_page("a link in code", links, {"README.md": "`[](none)`\n```cpp\n[](none)\n```\n"}, None)
    test_page("a picture", links, {"README.md": "![a](none.svg)\n"}, "leads to no file")
    test_page("a link's text", links, {"README.md": "## [b](README.md) c\n[](#b-c)\n"}, None)
    test_page("a reference", links, {"README.md": "[a][b]\n\n[b]: none.md\n"}, "which are checked")
    test_page("of another page", links, {"README.md": "", "tests/bench/README.md": "[](../../README.md) [](no)"}, "(no)")
    print(f"{len(cases) + 2 * len(PAGES[1:]) + len(targets) + 5} pages")


if sys.argv[1] == "extract":
    open(sys.argv[3], "w", encoding="utf-8").write(program(sys.argv[2]) + "  return 0;\n}\n")
else:
    {"check": check, "snippets": snippets, "links": links, "install": install, "self_test": self_test}[
        sys.argv[1]](*sys.argv[2:])
