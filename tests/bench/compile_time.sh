#!/usr/bin/env bash
# What the header costs to compile: the time of a unit that makes one call, over that of one that makes it by hand with
# httplib and nlohmann/json, including the same headers. User time, lowest of N runs (5), the units in turn.
#
#   tests/bench/compile_time.sh [N] [compiler...]
#
# Without compilers named: g++ and each clang++ that is here, at -O0. Where there is a clang++, it also says by
# -ftime-trace where the time goes that a call takes more.
set -euo pipefail
export LC_ALL=C TIMEFORMAT=%U
root=$(cd "$(dirname "$0")/../.." && pwd)
runs=${1:-5}
shift || true
clangs=$(compgen -c clang++ | grep -E '^clang\+\+(-[0-9]+)?$' | sort -uV || true)
compilers=("$@")
[ ${#compilers[@]} -gt 0 ] || compilers=(g++ $clangs)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# The headers that nango.hpp includes, httplib's among them, but for those of Windows.
{ echo '#define CPPHTTPLIB_OPENSSL_SUPPORT'; grep '^#include' "$root/nango.hpp" | grep -v wincrypt; } > headers.hpp
printf '#include "headers.hpp"\n' > headers.cpp
printf '#define CPPHTTPLIB_OPENSSL_SUPPORT\n#include "nango.hpp"\n' > nango.cpp

cat headers.cpp - > by_hand.cpp <<'C++'
#include <iostream>
int main() {
  httplib::SSLClient api("api.nango.dev");
  const auto answer = api.Get("/v1/crm/contacts", {{"Authorization", "Bearer key"}});
  if (!answer || answer->status != 200) return 1;
  const auto envelope = nlohmann::json::parse(answer->body);
  for (const auto& contact : envelope["result"]) std::cout << contact.dump() << '\n';
}
C++
cat nango.cpp - > one_call.cpp <<'C++'
#include <iostream>
int main() {
  nango::client api{{.api_key = nango::env("NANGO_API_KEY")}};
  const auto contacts = api.get("crm/contacts");
  if (!contacts) return 1;
  for (const auto& contact : *contacts) std::cout << contact.dump() << '\n';
}
C++
# The same in a program that has its backend elsewhere (examples/many_units).
cat - > no_httplib.cpp <<'C++'
#define NANGO_NO_HTTPLIB
#include "nango.hpp"
#include <iostream>
using client = nango::basic_client<nango::any_backend>;
bool show_contacts(const client& api) {
  const auto contacts = api.get("crm/contacts");
  if (!contacts) return false;
  for (const auto& contact : *contacts) std::cout << contact.dump() << '\n';
  return true;
}
C++

compile() { "$1" -std=c++20 -O0 "-I$root" ${3:-} -c "$2.cpp" -o "$2.o"; }
lower_of() { awk -v a="$1" -v b="$2" 'BEGIN { print (a < b ? a : b) }'; }

printf '%-12s %8s %8s %8s %8s %10s   %s\n' compiler headers by_hand nango one_call no_httplib 'one_call / by_hand'
for compiler in "${compilers[@]}"; do
  declare -A best=()
  for ((run = 0; run < runs; ++run)); do
    for unit in headers by_hand nango one_call no_httplib; do
      seconds=$({ time compile "$compiler" "$unit" 2> errors; } 2>&1) || { cat errors >&2; exit 1; }
      best[$unit]=$(lower_of "$seconds" "${best[$unit]:-9999}")
    done
  done
  printf '%-12s %8s %8s %8s %8s %10s   %s\n' "$compiler" "${best[headers]}" "${best[by_hand]}" "${best[nango]}" \
    "${best[one_call]}" "${best[no_httplib]}" \
    "$(awk -v a="${best[one_call]}" -v b="${best[by_hand]}" 'BEGIN { printf "%.2f", a / b }')"
done
printf '\nfunctions in the object file of %s: by_hand %s, one_call %s\n' "$compiler" \
  "$(nm --defined-only by_hand.o | wc -l)" "$(nm --defined-only one_call.o | wc -l)"

[ -n "$clangs" ] || exit 0
clang=$(tail -n 1 <<< "$clangs")
for unit in by_hand one_call; do compile "$clang" "$unit" "-ftime-trace -ftime-trace-granularity=0"; done
python3 - "$clang" by_hand.json one_call.json <<'python'
import collections, json, re, sys

def self_times(path):
    """Seconds and number of events by their kind and by the template or function, without what they contain."""
    events = [e for e in json.load(open(path))["traceEvents"] if e["ph"] == "X" and not e["name"].startswith("Total")]
    times, counts, open_events = collections.Counter(), collections.Counter(), []
    for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        while open_events and event["ts"] >= open_events[-1][0]:
            open_events.pop()
        key = event["name"], re.sub(r"[<(].*", "", event.get("args", {}).get("detail", ""))
        times[key] += event["dur"] / 1e6
        counts[key] += 1
        if open_events:
            times[open_events[-1][1]] -= event["dur"] / 1e6
        open_events.append((event["ts"] + event["dur"], key))
    return times, counts

by_hand, hand_counts = self_times(sys.argv[2])
one_call, counts = self_times(sys.argv[3])
print(f"\nwhere a call takes more than by hand, {sys.argv[1]} -ftime-trace, ms:")
kinds = collections.Counter()
for (kind, _), seconds in one_call.items():
    kinds[kind] += seconds
for (kind, _), seconds in by_hand.items():
    kinds[kind] -= seconds
for kind, seconds in kinds.most_common(7):
    print(f"{seconds * 1000:7.0f}  {kind}")
print("of which by template or function (and how many more of them):")
more = collections.Counter({key: seconds - by_hand[key] for key, seconds in one_call.items() if key[1]})
for (kind, detail), seconds in more.most_common(25):
    print(f"{seconds * 1000:7.1f} {counts[kind, detail] - hand_counts[kind, detail]:6} {kind} {detail}")
python
