#!/bin/sh
# Builds everything optimised, then measures.
#
#   scripts/bench.sh peers [--repetitions N] [--quick] [--only SCENARIO,...] [--servers NAME,...] [--document DIR]
#   scripts/bench.sh extended [--repetitions N] [--items N]
#   scripts/bench.sh php [--repetitions N] [--items N] [--cycles N] [--only ROW,...]
#   scripts/bench.sh storage [--scale S] [--only ROW,...]
#
# kqueue-bench's --help has the rest.
set -eu
cd "$(dirname -- "$0")/.."

target=${CARGO_TARGET_DIR:-target}
[ $# -gt 0 ] || set -- peers
cargo build --locked --release --package kqueue-server --package kqueue --package kqueue-bench
mkdir -p "$target/bench-data"
"$target/release/kqueue-bench" --built "$target/release" --data "$target/bench-data" "$@"
