#!/bin/sh
# Builds KQueue and runs the demo: examples/demo/run.php says what it does. `make demo` installs what it needs first.
set -eu
cd "$(dirname -- "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cargo build --locked --release --package kqueue-server --package kqueue
exec php -d extension="$(realpath "$target/release/libkqueue.so")" examples/demo/run.php "$(realpath "$target/release/kqueue-server")" \
    "$(realpath "$target/release/libkqueue.so")"
