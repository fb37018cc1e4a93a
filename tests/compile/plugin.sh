#!/bin/sh
# Usage: plugin.sh FOLDER COMPILER... -- FLAGS...
# Compiles plugin.cpp and plugin_host.cpp of FOLDER with all symbols hidden, and runs the program with its plugin.
set -eu
folder=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile=
while [ "$1" != -- ]; do
  compile="$compile $1"
  shift
done
shift
$compile -std=c++20 -fvisibility=hidden "$@" -fPIC -shared "$folder/plugin.cpp" -o "$work/plugin.so"
# -rdynamic: a program shares its types with its plugins
$compile -std=c++20 -fvisibility=hidden "$@" -rdynamic "$folder/plugin_host.cpp" -o "$work/host" -ldl
"$work/host" "$work/plugin.so"
