#!/bin/sh
# cargo runs this in place of rustc while Wharf builds a component (RUSTC_WRAPPER). It makes what is
# compiled for wasm independent of the machine: directories of this machine become fixed names, and
# the symbol hash, which cargo also derives from the host's platform, becomes one of the package
# itself. What is compiled for the build machine (build scripts, macros) passes through unchanged.
rustc=$1
shift
case " $* " in
*" --target wasm32-"*) ;;
*) exec "$rustc" "$@" ;;
esac
# cargo's own questions to the compiler name no package.
[ -n "${CARGO_PKG_NAME:-}" ] || exec "$rustc" "$@"

# Where a package comes from (registry, mirror, vendored directory) is the machine's matter and stays
# out of it. rustc refuses two packages of one name, version and features in one build.
identity=$CARGO_PKG_NAME-$CARGO_PKG_VERSION
for argument; do
  case $argument in
  feature=*) identity=$identity-$argument ;;
  esac
done
remaining=$#
while [ "$remaining" -gt 0 ]; do
  argument=$1
  shift
  case $argument in
  metadata=*) argument=metadata=$identity ;;
  esac
  set -- "$@" "$argument"
  remaining=$((remaining - 1))
done

# Where several prefixes match, rustc takes the last one, so that the most specific stand last.
[ -z "${OUT_DIR:-}" ] ||
  set -- "$@" --remap-path-prefix "$OUT_DIR=/wharf/out/$CARGO_PKG_NAME-$CARGO_PKG_VERSION"
exec "$rustc" \
  --remap-path-prefix "$WHARF_CARGO_HOME=/wharf/cargo" \
  --remap-path-prefix "$WHARF_SYSROOT/lib/rustlib/src/rust=/rustc/$WHARF_RUSTC_COMMIT" \
  --remap-path-prefix "$WHARF_TARGET_DIR=/wharf/target" \
  --remap-path-prefix "$(pwd -P)=/wharf/workspace" \
  --remap-path-prefix "$CARGO_MANIFEST_DIR=/wharf/$CARGO_PKG_NAME-$CARGO_PKG_VERSION" \
  "$@"
