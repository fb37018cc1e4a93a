#!/bin/sh
# Compiles unit programs for 32-bit ARM and for s390x, which is big-endian, and runs them by qemu-user, two at a time.
# Passes over what is not installed (g++-12-arm-linux-gnueabihf, g++-12-s390x-linux-gnu, qemu-user), and says so.
# processors.sh [PROGRAM...]: without any, those whose code depends on bytes and sizes most
#
# With ARM_OPENSSL, a folder into which Debian's libssl-dev:armhf was unpacked (dpkg-deb -x), and NANGO_UPSTREAM_HTTPLIB
# it compiles the default backend for ARM too, where no warning may come, and runs its loopback tests.
set -u
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
programs=${*:-path envelope result retry rate_limiter crm hosted}

cat > "$folder/play" << 'END'
compiler=$1-g++-12 qemu=qemu-$2 folder=$3 name=$4
program=$folder/$2-$name
# /usr/include last: JSON and doctest are there, and this machine's C library. One case reads what a child of it says on
# stderr as it aborts, where qemu has words of its own.
if $compiler -std=c++20 -O1 -static -pthread -Wno-psabi -DNANGO_NO_HTTPLIB '-DHOSTED_ANSWERS="tests/support/hosted_answers.json"' \
    -I. -Itests/support -idirafter /usr/include "tests/$name.cpp" tests/main.cpp -o "$program" > "$program.log" 2>&1 &&
  [ ! -s "$program.log" ] && $qemu "$program" --test-case-exclude="*aborts with its error in one line on stderr" > "$program.log" 2>&1; then
  echo "ok | $2 | $name | $(grep 'test cases' "$program.log")"
else
  echo "FAIL | $2 | $name"
  head -40 "$program.log"
  exit 1
fi
END
for each in arm-linux-gnueabihf:arm s390x-linux-gnu:s390x; do
  if command -v "${each%:*}-g++-12" "qemu-${each#*:}" > /dev/null; then
    for name in $programs; do echo "${each%:*} ${each#*:} $folder $name"; done
  else
    echo "skipped: ${each%:*}-g++-12 or qemu-${each#*:} is missing" >&2
  fi
done | xargs -r -L 1 -P 2 sh "$folder/play" || exit

if [ -z "${ARM_OPENSSL:-}" ] || [ -z "${NANGO_UPSTREAM_HTTPLIB:-}" ]; then
  echo "skipped: the default backend on ARM (ARM_OPENSSL or NANGO_UPSTREAM_HTTPLIB is not set)" >&2
  exit
fi
include=$ARM_OPENSSL/usr/include
arm-linux-gnueabihf-g++-12 -std=c++20 -O1 -pthread -Wno-psabi -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror \
  -DCPPHTTPLIB_OPENSSL_SUPPORT -I. -isystem tests/support -isystem "${NANGO_UPSTREAM_HTTPLIB##*:}" \
  -isystem "$include/arm-linux-gnueabihf" -isystem "$include" -idirafter /usr/include tests/httplib_backend.cpp \
  tests/main.cpp -L"$ARM_OPENSSL/usr/lib/arm-linux-gnueabihf" -l:libssl.a -l:libcrypto.a -latomic -ldl -o "$folder/backend" &&
  qemu-arm -L /usr/arm-linux-gnueabihf "$folder/backend"
