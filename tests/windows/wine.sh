#!/usr/bin/env bash
# Runs a Windows program by Wine, in an environment of Windows of its own. `wine.sh --end` ends what runs there.
export WINEPREFIX=${XDG_CACHE_HOME:-$HOME/.cache}/nango-windows/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
[ "${1:-}" != --end ] || exec /usr/lib/wine/wineserver64 -k
exec /usr/lib/wine/wine64 "$@"
