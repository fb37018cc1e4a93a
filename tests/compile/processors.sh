#!/bin/sh
# Compiles the unit tests for 32-bit ARM and for s390x, which is big-endian, and runs them by qemu-user, two at a time.
# Passes over what is not installed (g++-12-arm-linux-gnueabihf, g++-12-s390x-linux-gnu, qemu-user), and says so.
# processors.sh [PROCESSOR...]: arm, s390x, or both
#
# With ARM_OPENSSL, a folder into which Debian's libssl-dev:armhf was unpacked (dpkg-deb -x), and NANGO_UPSTREAM_HTTPLIB
# it compiles the default backend for ARM too, where no warning may come, and runs its loopback tests.
set -u
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
processors=${*:-arm s390x}

cat > "$folder/play" << 'END'
compiler=$1-g++-12 qemu=qemu-$2 folder=$3 files=$4
program=$folder/$2-$files
for file in tests/unit/$files.cpp; do echo "#include \"$PWD/$file\""; done > "$program.cpp"
# /usr/include last: JSON and doctest are there, and this machine's C library. One case reads what a child of it says on
# stderr as it aborts, where qemu has words of its own; some have a million keys or threads that are in step.
if $compiler -std=c++20 -O1 -static -pthread -Wno-psabi -DNANGO_NO_HTTPLIB '-DHOSTED_ANSWERS="tests/support/hosted_answers.json"' \
    -I. -Itests/support -idirafter /usr/include "$program.cpp" tests/main.cpp -o "$program" > "$program.log" 2>&1 &&
  [ ! -s "$program.log" ] && $qemu "$program" --test-case-exclude="*aborts with its error in one line on stderr" \
    --source-file-exclude="*/rate_limiter_memory.cpp,*/rate_limiter_simulation.cpp" > "$program.log" 2>&1; then
  echo "ok | $2 | $files | $(grep 'test cases' "$program.log")"
else
  echo "FAIL | $2 | $files"
  head -40 "$program.log"
  exit 1
fi
END
for each in arm-linux-gnueabihf:arm s390x-linux-gnu:s390x; do
  case " $processors " in *" ${each#*:} "*) ;; *) continue ;; esac
  if command -v "${each%:*}-g++-12" "qemu-${each#*:}" > /dev/null; then
    for files in 'c*' '[e-p]*' 'r*'; do echo "${each%:*} ${each#*:} $folder '$files'"; done
  else
    echo "skipped: ${each%:*}-g++-12 or qemu-${each#*:} is missing" >&2
  fi
done | xargs -r -L 1 -P 2 sh "$folder/play" || exit

case " $processors " in *" arm "*) ;; *) exit ;; esac
if [ -z "${ARM_OPENSSL:-}" ] || [ -z "${NANGO_UPSTREAM_HTTPLIB:-}" ]; then
  echo "skipped: the default backend on ARM (ARM_OPENSSL or NANGO_UPSTREAM_HTTPLIB is not set)" >&2
  exit
fi
include=$ARM_OPENSSL/usr/include
arm-linux-gnueabihf-g++-12 -std=c++20 -O1 -pthread -Wno-psabi -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror \
  -DCPPHTTPLIB_OPENSSL_SUPPORT -I. -isystem tests/support -isystem "${NANGO_UPSTREAM_HTTPLIB##*:}" \
  -isystem "$include/arm-linux-gnueabihf" -isystem "$include" -idirafter /usr/include \
  tests/loopback/httplib_backend.cpp tests/main.cpp -L"$ARM_OPENSSL/usr/lib/arm-linux-gnueabihf" -l:libssl.a -l:libcrypto.a -latomic -ldl -o "$folder/backend" &&
  qemu-arm -L /usr/arm-linux-gnueabihf "$folder/backend"
