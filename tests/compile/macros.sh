#!/bin/sh
# macros.sh COMPILER... -- HEADER
# Passes if HEADER defines no macro but its guard and NANGO_VERSION*, with httplib and without.
set -u
compiler=
while [ "$1" != -- ]; do compiler="$compiler $1"; shift; done
header=$2
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
wanted='NANGO_HPP
NANGO_VERSION
NANGO_VERSION_MAJOR
NANGO_VERSION_MINOR
NANGO_VERSION_PATCH'

# The names of all macros after the header that is read from the standard input.
macros() { $compiler -std=c++20 "$@" -dM -E -x c++ - | sed -E 's/^#define ([A-Za-z0-9_]+).*/\1/' | sort -u; }

for switch in -DNANGO_NO_HTTPLIB -DCPPHTTPLIB_OPENSSL_SUPPORT; do
  sed -E '/^#error/,/[^\\]$/d' "$header" | grep '^#' | grep -v 'define NANGO_\|undef NANGO_' > "$folder/included.hpp"
  macros "$switch" -DNANGO_DETAIL_HTTPLIB < "$folder/included.hpp" | grep -v NANGO_DETAIL_HTTPLIB > "$folder/before"
  macros "$switch" < "$header" > "$folder/after" || exit 1
  left=$(comm -13 "$folder/before" "$folder/after")
  if [ "$left" != "$wanted" ]; then
    echo "with $switch the header leaves these macros behind:"
    echo "$left"
    exit 1
  fi
done
