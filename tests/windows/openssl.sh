#!/usr/bin/env bash
# OpenSSL's libraries for Windows, which Debian does not have: cross-compiled from the tarball of its source package, with
# what nango.hpp and its tests do not need left out. Made once for a machine, in the user's cache; prints the folder
# (include/, libssl.a, libcrypto.a, openssl.pc), and its log to stderr.
#
#   tests/windows/openssl.sh            220 s on two cores, or what is there already
#
# It needs a deb-src line in apt's sources and the compiler x86_64-w64-mingw32-gcc-posix. Exit 77: it cannot be had.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nango-windows
unavailable() { echo "skipped: $*" >&2; exit 77; }

if made=$(ls -d "$cache"/openssl-*/libssl.a 2> /dev/null); then
  dirname "$(tail -1 <<< "$made")"
  exit
fi
command -v x86_64-w64-mingw32-gcc-posix > /dev/null || unavailable "x86_64-w64-mingw32-gcc-posix is not installed"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get source --download-only -qq openssl >&2 || true  # the tarball may be there where the .dsc is not
tarball=$(ls openssl_*.orig.tar.gz 2> /dev/null) || unavailable "apt has no source package openssl (is there a deb-src line?)"
tar xf "$tarball"
folder=$(basename "$(ls -d openssl-*/)")
cd "$folder"
# The switches are those of 3.0. `build_libs` leaves programs, tests and documentation out.
./Configure mingw64 --cross-compile-prefix=x86_64-w64-mingw32- CC=gcc-posix no-shared no-engine no-dso no-legacy no-cmp \
  no-cms no-ct no-ts no-srp no-srtp no-dtls no-comp no-aria no-camellia no-idea no-seed no-sm2 no-sm3 no-sm4 no-gost \
  no-rc2 no-rc4 no-md4 no-mdc2 no-whirlpool no-rmd160 no-siphash no-scrypt no-cast no-bf no-ec2m no-ssl3 no-tests \
  no-capieng no-padlockeng no-psk no-nextprotoneg no-ui-console > configure.log 2>&1 || { cat configure.log >&2; exit 1; }
make -s -j"$(nproc)" build_libs > make.log 2>&1 || { tail -50 make.log >&2; exit 1; }
mkdir -p "$cache/$folder.part"
cp -r include libssl.a libcrypto.a "$cache/$folder.part"
printf '%s\n' "Name: OpenSSL" "Description: OpenSSL for Windows" "Version: ${folder#openssl-}" \
  "Cflags: -I$cache/$folder/include" "Libs: -L$cache/$folder -lssl -lcrypto" > "$cache/$folder.part/openssl.pc"
mv "$cache/$folder.part" "$cache/$folder"
echo "$cache/$folder"
