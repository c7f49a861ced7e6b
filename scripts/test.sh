#!/bin/sh
# Every test, one stage after the other; `make test` installs what they need first.
#
#   scripts/test.sh [STAGE ...]        stages: lint deny unit sim phpt cross storage package
#
# Ends at the first stage that fails.
set -eu
cd "$(dirname -- "$0")/.."

target=${CARGO_TARGET_DIR:-target}
stages=${*:-lint deny unit sim phpt cross storage package}
seeds=${SEEDS:-2000}
# Lives in which every call of the disk fails once; each takes some seconds.
faults=${FAULTS:-6}

for stage in $stages; do
    echo "== $stage"
    case $stage in
        lint)
            cargo fmt --all --check
            cargo clippy --locked --workspace --all-targets -- -D warnings
            (cd fuzz && cargo fmt --check)
            ;;
        deny)
            cargo deny --locked --workspace check --hide-inclusion-graph bans licenses sources
            ;;
        unit)
            # The extension is not among them: its glue links only inside PHP and is tested by phpt.
            cargo test --locked --workspace --exclude kqueue --exclude kqueue-tests
            # What fuzzing found once.
            cargo test --locked --manifest-path fuzz/Cargo.toml --target-dir "$target/fuzz-seeds"
            ;;
        sim)
            cargo run --locked --profile checked --package kqueue-sim -- run --seeds "$seeds"
            cargo run --locked --profile checked --package kqueue-sim -- faults --seeds "$faults"
            ;;
        storage)
            # Seconds: what must hold on any machine (memory, disk, no item lost, no push failed), no times.
            cargo build --locked --package kqueue-server --package kqueue --package kqueue-bench
            mkdir -p "$target/bench-data"
            "$target/debug/kqueue-bench" --built "$target/debug" --data "$target/bench-data" storage --scale 0.002 --untimed
            "$target/debug/kqueue-bench" --built "$target/debug" --data "$target/bench-data" php \
                --only binary,failover,cycles --repetitions 1 --items 200 --cycles 2000 --untimed
            ;;
        phpt)
            cargo build --locked --package kqueue --package kqueue-server
            scripts/phpt.sh "$target/debug/libkqueue.so" "$target/debug/kqueue-server"
            ;;
        cross)
            cargo build --locked --package kqueue --package kqueue-server --package kqueue-ctl
            cargo test --locked --package kqueue-tests
            ;;
        package)
            scripts/package.sh
            ;;
        *)
            echo "test.sh: no such stage: $stage" >&2
            exit 2
            ;;
    esac
done
echo "== all passed: $stages"
