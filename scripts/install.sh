#!/bin/sh
# Installs what is missing to build, demonstrate, test or measure KQueue. This file is the list of everything that is needed
# on a Debian 12 machine that has git, make and a Rust toolchain.
#
#   scripts/install.sh build|demo|test|bench ...
#
# It says what it installs, installs nothing that is there already, and starts no service.
set -eu
cd "$(dirname -- "$0")/.."
foreign=${CARGO_TARGET_DIR:-target}/foreign

# build: the server needs a linker, the extension PHP's headers and libclang (bindgen reads the headers with it). Debian packages and phpize take
# nothing else: dpkg-dev comes with build-essential, autoconf with php8.2-dev
build="build-essential php8.2-cli php8.2-dev libclang-14-dev"
# demo: a small web site in front of the queue
demo="$build nginx-light php8.2-fpm php8.2-curl php8.2-sqlite3"
# test: real PHP-FPM (and cgi-fcgi, which speaks to it), memcached clients that others wrote (for PHP, Python and Node, memcp and its siblings),
# curl, with which an operator asks the admin port,
# strace, which lets system calls fail, and libfaketime, which sets the clock
clients="php8.2-memcached php8.2-memcache php8.2-igbinary php8.2-msgpack python3-pymemcache python3-pylibmc libmemcached-tools"
test="$build php8.2-fpm libfcgi-bin php8.2-sqlite3 $clients python3-pip nodejs strace libfaketime thrift-compiler python3-thrift haproxy curl"
# Some builds of Node bring npm along; Debian's is a package of its own.
command -v npm >/dev/null || test="$test npm"
# and the clients that are not Debian's: exact versions, into target/foreign, from these lists
python_clients=tests/foreign/python/requirements.txt
node_clients=tests/foreign/node/package-lock.json
# bench: the servers that we compare with, and their clients for PHP; nutcracker is the proxy that a web server would need without the extension's pool
bench="$build php8.2-fpm php8.2-memcached php8.2-redis memcached redis-server beanstalkd nats-server nutcracker"

cargo_deny=0.20.2

wanted=
for group in "$@"; do
    case $group in
        build) wanted="$wanted $build" ;;
        demo) wanted="$wanted $demo" ;;
        test) wanted="$wanted $test" ;;
        bench) wanted="$wanted $bench" ;;
        *)
            echo "install.sh: no such group: $group (build, demo, test, bench)" >&2
            exit 2
            ;;
    esac
done
[ -n "$wanted" ] || { sed -n '2,7s/^# \{0,1\}//p' scripts/install.sh; exit 2; }

if ! command -v cargo >/dev/null; then
    echo "A Rust toolchain (1.89 or later) is needed: see https://rustup.rs" >&2
    exit 1
fi

missing=
for package in $(printf '%s\n' $wanted | sort -u); do
    case $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true) in
        installed) ;;
        *) missing="$missing $package" ;;
    esac
done

if [ -n "$missing" ]; then
    echo "Installing Debian packages:$missing"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "Run as root: apt-get install$missing" >&2; exit 1; }
        as_root=sudo
    fi
    # Packages such as nginx would start their service, on port 80, at once: Debian's way to prevent it is a policy script.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap '$as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    $as_root apt-get -q update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing
    echo "Installed:$missing"
    echo "No service was started now; those of these packages that are services (nginx, php-fpm, memcached, redis, beanstalkd, nats, nutcracker) start at the next boot:"
    echo "'systemctl disable NAME' prevents it. KQueue's scripts start servers of their own, on loopback, and end them."
fi

case " $* " in
    *" test "*)
        if ! cargo deny --version >/dev/null 2>&1; then
            echo "Installing cargo-deny $cargo_deny with cargo (it checks licences, sources and the arrows between our crates; takes some minutes, once)"
            cargo install --locked --version "$cargo_deny" cargo-deny
        fi
        for component in rustfmt clippy; do
            cargo "${component#rust}" --version >/dev/null 2>&1 || {
                echo "Installing the Rust component $component with rustup"
                rustup component add "$component"
            }
        done
        # The list is copied last: where it is the same, everything in it is there.
        if ! cmp -s "$python_clients" "$foreign/python/requirements.txt"; then
            echo "Installing Python clients with pip into $foreign/python:" $(sed -n 's/^\([^#][^ ]*\) .*/\1/p' "$python_clients")
            rm -rf "$foreign/python"
            mkdir -p "$foreign/python"
            # Debian's Python, whatever else is called python3 here; its own setuptools build what comes as source.
            /usr/bin/python3 -m pip --quiet --disable-pip-version-check install --root-user-action=ignore --no-deps --no-build-isolation \
                --require-hashes --target "$foreign/python" --requirement "$python_clients"
            cp "$python_clients" "$foreign/python/requirements.txt"
        fi
        if ! cmp -s "$node_clients" "$foreign/node/installed.json"; then
            echo "Installing Node clients with npm into $foreign/node:" $(sed -n 's/.*"\(.*\)": "\([0-9.]*\)".*/\1@\2/p' "${node_clients%/*}/package.json")
            rm -rf "$foreign/node"
            mkdir -p "$foreign/node"
            cp "${node_clients%/*}/package.json" "$node_clients" "$foreign/node/"
            npm --prefix "$foreign/node" --silent --no-audit --no-fund --ignore-scripts ci
            cp "$node_clients" "$foreign/node/installed.json"
        fi
        ;;
esac
