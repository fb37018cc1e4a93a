"""Checks with include-what-you-use that nango.hpp includes each header that it takes names from, and no other.

Run from the folder of nango.hpp. What it is right about in general, and wrong here, is left out below, with the reason."""

import re
import subprocess
import sys
import tempfile

LEFT_OUT = {
    "bits/": "libstdc++'s own parts of standard headers",
    "ext/": "the same",
    "nlohmann/detail/": "parts of nlohmann/json.hpp",
    "nlohmann/json_fwd.hpp": "the same",
    "openssl/": "ssl.h, x509v3.h, err.h and hmac.h include the rest of OpenSSL that is used, by its documentation",
    "compare": "of chrono's types, which chrono brings",
    "ratio": "the same",
    "initializer_list": "of std::min({...}), which algorithm brings",
    "map": "of httplib's headers, which httplib.h brings",
    "time.h": "time_t is in the interface of httplib's streams",
    "fcntl.h": "for systems whose socket() takes no flags",
    "iterator": "iterators are in many headers; this is the one that has to have them",
    "concepts": "std::same_as and others are used in constraints alone, where the tool does not look",
    "cstddef": "std::size_t is in many headers; this is the one that has to have it",
}

with tempfile.NamedTemporaryFile("w", suffix=".cpp") as unit:
    unit.write('#include "nango.hpp"\n')
    unit.flush()
    said = subprocess.run(
        ["include-what-you-use", "-std=c++20", "-DCPPHTTPLIB_OPENSSL_SUPPORT", "-I.", "-Xiwyu", "--check_also=*nango.hpp",
         "-Xiwyu", "--no_fwd_decls", unit.name], capture_output=True, text=True).stderr
if "nango.hpp" not in said or "error:" in said:
    sys.exit("include-what-you-use did not read nango.hpp:\n" + said)
asked = said.split("The full include-list for nango.hpp")[0]
problems = []
for line in re.findall(r"^(?:- )?#include .*", asked, re.M):
    name = re.search(r"<(.*?)>", line)[1]
    if not any(name == known or (known.endswith("/") and name.startswith(known)) for known in LEFT_OUT):
        problems.append(("too much: " if line.startswith("-") else "missing: ") + line)
print("\n".join(problems) or "each include is needed, and none is missing")
sys.exit(1 if problems else 0)
