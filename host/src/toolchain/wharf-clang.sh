#!/bin/sh
# Stands for clang while Wharf builds a component with C in it (CC_wasm32_wasip2). Directories of
# this machine become fixed names in what the compiler writes down (__FILE__, debug information).
# The order serves both old clangs, which take the longest prefix, and new ones, which take the last.
here=$(pwd -P)
exec "$WHARF_CLANG" \
  -Qunused-arguments \
  "-ffile-prefix-map=$WHARF_TARGET_DIR=/wharf/target" \
  "-ffile-prefix-map=$here=/wharf/workspace" \
  "-ffile-prefix-map=${CARGO_MANIFEST_DIR:-$here}=/wharf/${CARGO_PKG_NAME:-package}" \
  "-ffile-prefix-map=${OUT_DIR:-$here}=/wharf/out" \
  "$@"
