#!/bin/sh
# Fuzzes with libFuzzer, one target after the other, each for so many seconds:
#
#   scripts/fuzz.sh SECONDS [TARGET ...]        targets: see fuzz/fuzz_targets
#
# An ordinary compiler does: the flags below are what cargo-fuzz passes. There is no address sanitizer, which needs a nightly one: nothing that is
# fuzzed here has unsafe code. What is found interesting goes on in fuzz/corpus; an input that fails is left in fuzz/artifacts, and belongs into
# fuzz/seeds once it is understood, where `cargo test` in fuzz/ tries it for ever.
set -eu
cd "$(dirname -- "$0")/../fuzz"

seconds=${1:?"usage: scripts/fuzz.sh SECONDS [TARGET ...]"}
shift
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')

host=$(rustc -vV | sed -n 's/^host: //p')
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags="$flags -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags="$flags -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Ccodegen-units=1"
# Only with --target are build scripts left alone by the flags; the directory is not the one in which tests build.
RUSTFLAGS="${RUSTFLAGS:-} $flags" cargo build --locked --release --target "$host" --target-dir target/fuzz --bins

for target in "$@"; do
    echo "== $target, for $seconds seconds"
    mkdir -p "corpus/$target" "artifacts/$target"
    set -- "corpus/$target"
    [ ! -d "seeds/$target" ] || set -- "$@" "seeds/$target"
    case $target in
        proto_*|text_*|session|client) set -- -dict=proto.dict "$@" ;;
    esac
    "target/fuzz/$host/release/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=4096 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="artifacts/$target/" "$@"
done
