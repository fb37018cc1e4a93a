#!/bin/sh
# must_not_compile.sh SAYS ERRORS LINES COMPILER... -- ARGUMENT...
# Passes if the compiler refuses, says SAYS, and has ERRORS errors (a number, or any) in LINES lines at most (or any);
# with an empty SAYS, if it compiles.
set -u
export LC_ALL=C
says=$1 errors=$2 most=$3
shift 3
compiler=
while [ "$1" != -- ]; do compiler="$compiler $1"; shift; done
shift
output=$($compiler -std=c++20 -fsyntax-only "$@" 2>&1)
if [ $? -eq 0 ]; then
  [ -z "$says" ] && exit 0
  echo "it compiles, and must not"
  exit 1
fi
found=$(printf '%s\n' "$output" | grep -c 'error:')
lines=$(printf '%s\n' "$output" | wc -l)
case $output in
  *"$says"*)
    [ -n "$says" ] && { [ "$errors" = any ] || [ "$errors" = "$found" ]; } &&
      { [ "$most" = any ] || [ "$lines" -le "$most" ]; } && exit 0 ;;
esac
echo "the compiler does not say \"$says\" in $errors errors and $most lines, but in $found and $lines:"
echo "$output"
exit 1
