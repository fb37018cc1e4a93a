#!/bin/sh
# must_not_compile.sh SAYS COMPILER... -- ARGUMENT...
# Passes if the compiler refuses and says SAYS; with an empty SAYS, if it compiles.
set -u
says=$1
shift
compiler=
while [ "$1" != -- ]; do compiler="$compiler $1"; shift; done
shift
output=$($compiler -std=c++20 -fsyntax-only "$@" 2>&1)
if [ $? -eq 0 ]; then
  [ -z "$says" ] && exit 0
  echo "it compiles, and must not"
  exit 1
fi
case $output in
  *"$says"*) [ -n "$says" ] && exit 0 ;;
esac
echo "the compiler does not say \"$says\" but:"
echo "$output"
exit 1
