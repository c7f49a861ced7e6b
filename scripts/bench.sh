#!/bin/sh
# Builds everything optimised, then measures. Arguments go to kqueue-bench (--repetitions N, --seconds S).
set -eu
cd "$(dirname -- "$0")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --locked --release --package kqueue-server --package kqueue --package kqueue-bench
mkdir -p "$target/bench-data"
"$target/release/kqueue-bench" --built "$target/release" --data "$target/bench-data" "$@"
