#!/bin/sh
# Runs the phpt suite against a built extension, with real kqueue-server daemons.
#
#   scripts/phpt.sh [EXTENSION.so [KQUEUE-SERVER]] [test or folder ...]
#
# Without arguments it builds both. PHP and PHP_CONFIG choose the PHP; JOBS the number of workers. VALGRIND=1 runs every PHP under valgrind (some
# twenty times as long): a test that loses memory or touches what is not its own is then counted as LEAK, and fails.
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
php=${PHP:-php}
php=$(command -v "$php")
php_config=${PHP_CONFIG:-php-config}
target=${CARGO_TARGET_DIR:-$root/target}

extension=${1:-}
[ $# -gt 0 ] && shift
server=${1:-}
[ $# -gt 0 ] && shift

if [ -z "$extension" ]; then
    (cd "$root" && cargo build --locked --package kqueue)
    extension=$target/debug/libkqueue.so
fi
if [ -z "$server" ]; then
    (cd "$root" && cargo build --locked --package kqueue-server)
    server=$target/debug/kqueue-server
fi
extension=$(realpath "$extension")
server=$(realpath "$server")

run_tests=
for candidate in "$("$php_config" --extension-dir)/build/run-tests.php" \
    "$("$php_config" --prefix)/lib/php/build/run-tests.php"; do
    [ -f "$candidate" ] && run_tests=$candidate && break
done
[ -n "$run_tests" ] || { echo "run-tests.php not found: install PHP's development package" >&2; exit 1; }

# The tests run in a copy, so that what a failing test leaves behind is never in the checkout.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp -R "$root/phpt" "$work/phpt"
# It writes beside itself, where only root may.
cp "$run_tests" "$work/run-tests.php"

# Tests named on the command line are relative to the checkout's phpt folder.
set -- "${@:-.}"
for test in "$@"; do
    set -- "$@" "$work/phpt/${test#phpt/}"
    shift
done

export KQUEUE_EXTENSION="$extension" KQUEUE_SERVER="$server" KQUEUE_ROOT="$root"
export TEST_PHP_EXECUTABLE="$php" NO_INTERACTION=1 RUST_BACKTRACE=0
if [ -n "${VALGRIND:-}" ]; then
    # run-tests.php sees to USE_ZEND_ALLOC=0 and ZEND_DONT_UNLOAD_MODULES=1, but asks for wrong accesses only. The PHPs that a test starts are watched,
    # too; the daemons are not.
    export VALGRIND_OPTS="--leak-check=full --show-leak-kinds=definite,indirect,possible --trace-children-skip=*/kqueue-server ${VALGRIND_OPTS:-}"
    command -v valgrind > /dev/null || { echo "valgrind not found: install it, or run without VALGRIND" >&2; exit 1; }
    # It cannot follow what PCRE compiles at run time, and calls that uninitialised.
    set -- -m --show-mem -d pcre.jit=0 "$@"
fi
status=0
(cd "$work" && "$php" -n run-tests.php -n -q --no-progress -g FAIL,XFAIL,XPASS,WARN,LEAK,XLEAK,SKIP,BORK "-j${JOBS:-4}" \
    --show-diff --set-timeout 60 -d "extension=$extension" "$@") || status=$?
exit $status
