#!/bin/sh
# macros.sh COMPILER... -- SWITCH HEADER
# Passes if HEADER, compiled with SWITCH, defines no macro but its guard and NANGO_VERSION*.
set -eu
compiler=
while [ "$1" != -- ]; do compiler="$compiler $1"; shift; done
switch=$2 header=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wanted='NANGO_HPP
NANGO_VERSION
NANGO_VERSION_MAJOR
NANGO_VERSION_MINOR
NANGO_VERSION_PATCH'

# The names of all macros after FILE, sorted.
macros() {
  $compiler -std=c++20 "$switch" -dM -E -x c++ "$1" > "$folder/all"
  sed -E 's/^#define ([A-Za-z0-9_]+).*/\1/' "$folder/all" | sort -u
}

# What it includes, by itself.
sed -E -e '/^#error.*[^\\]$/d' -e '/^#error/,/[^\\]$/d' "$header" | grep -E '^#(include|if|el|endif)' > "$folder/included.hpp"
macros "$folder/included.hpp" > "$folder/before"
macros "$header" > "$folder/after"
left=$(comm -13 "$folder/before" "$folder/after")
[ "$left" = "$wanted" ] && exit 0
echo "with $switch the header leaves these macros behind:"
echo "$left"
exit 1
