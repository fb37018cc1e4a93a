#!/bin/sh
# must_not_compile.sh COMPILER... -- SOURCE_ROOT FILE.cpp
# The file names in its first line what the compiler has to say: `// says: text`. The same file with -DCONTROL compiles,
# so that it is the guarded line that fails and nothing else.
set -u
compiler=
while [ "$1" != -- ]; do compiler="$compiler $1"; shift; done
root=$2
file=$3
says=$(sed -n '1s|^// says: ||p' "$file")
compile="$compiler -std=c++20 -fsyntax-only -I$root"
if ! $compile -DCONTROL -DNANGO_NO_HTTPLIB "$file"; then
  echo "$file: does not compile with -DCONTROL either"
  exit 1
fi
if output=$($compile "$file" 2>&1); then
  echo "$file: compiles, and must not"
  exit 1
fi
case $output in
  *"$says"*) exit 0 ;;
esac
echo "$file: the compiler does not say \"$says\" but:"
echo "$output"
exit 1
