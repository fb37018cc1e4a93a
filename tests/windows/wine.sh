#!/usr/bin/env bash
# Runs a Windows program by Wine, in an environment of Windows of its own. `wine.sh --end` ends what runs there.
export WINEPREFIX=${XDG_CACHE_HOME:-$HOME/.cache}/nango-windows/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
[ "${1:-}" != --end ] || exec /usr/lib/wine/wineserver64 -k
# By a file: the first program starts services that live on, and who reads its pipe to the end would wait for them.
output=$(mktemp)
trap 'cat "$output"; rm "$output"' EXIT
/usr/lib/wine/wine64 "$@" > "$output" 2>&1 < /dev/null
