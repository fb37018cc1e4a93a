#!/usr/bin/env bash
# Sets up a build folder whose programs are for Windows: `meson test -C FOLDER --suite windows` runs them by Wine.
#
#   NANGO_UPSTREAM_HTTPLIB=FOLDER tests/windows/setup.sh build-windows
#
# Takes the newest httplib.h of NANGO_UPSTREAM_HTTPLIB, since Debian has none for Windows, and openssl.sh's OpenSSL.
# Exit 77: something is missing, which stderr names.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nango-windows
httplib=${NANGO_UPSTREAM_HTTPLIB:-}
httplib=${httplib##*:}
unavailable() { echo "skipped: $*" >&2; exit 77; }

[ -n "$httplib" ] || unavailable "NANGO_UPSTREAM_HTTPLIB is not set"
command -v x86_64-w64-mingw32-g++-posix > /dev/null || unavailable "x86_64-w64-mingw32-g++-posix is not installed"
[ -x /usr/lib/wine/wine64 ] || unavailable "Wine is not installed"
openssl=$("$here/openssl.sh")

# The system's headers are another system's, so those that are needed stand alone.
mkdir -p "$cache/include"
ln -sfn "$openssl" "$cache/openssl"
ln -sfn "$(cd "$httplib" && pwd)/httplib.h" "$cache/include/httplib.h"
for each in nlohmann doctest CLI; do
  [ ! -e "/usr/include/$each" ] || ln -sfn "/usr/include/$each" "$cache/include/$each"
done
printf '[constants]\nhere = %s\ncache = %s\n' "'$here'" "'$cache'" > "$cache/paths.ini"
[ -e "$cache/wine/system.reg" ] || "$here/wine.sh" wineboot -i
# Optimized a little: without it the assembler and the linker take minutes over 30,000 sections a program.
meson setup "$1" --cross-file "$cache/paths.ini" --cross-file "$here/mingw-w64.ini" --buildtype=plain -Doptimization=1
