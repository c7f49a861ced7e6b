#!/bin/sh
# Builds Debian packages into target/debian: the extension for the PHP that php-config belongs to (php8.2-kqueue), and the server with kqueuectl.
#
#   scripts/deb.sh
#
# PHP_CONFIG chooses the PHP. Needs what `scripts/install.sh build` installs.
set -eu
umask 022
cd "$(dirname -- "$0")/.."

target=${CARGO_TARGET_DIR:-target}
built=$target/dist
work=$target/debian
php_config=$(command -v "${PHP_CONFIG:-php-config}")
php=$("$php_config" --version | cut -d. -f1,2)
architecture=$(dpkg --print-architecture)
# 1.0.0-alpha.1 comes before 1.0.0: Debian writes that with a tilde.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml | tr - '~')
# Set as by phpize (php/Makefile.frag), so that one build serves both.
PHP=$("$php_config" --php-binary) PHP_CONFIG=$php_config cargo build --locked --profile dist --package kqueue
cargo build --locked --profile dist --package kqueue-server --package kqueue-ctl

# The same commit gives the same archive. Set only here: the build of ext-php-rs would begin anew for every commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

rm -rf "$work"
mkdir -p "$work"

# What every package has in /usr/share/doc: documents NAME CRATE ...
documents() {
    name=$1
    shift
    doc=$work/$name/usr/share/doc/$name
    install -d "$doc"
    gzip -9n < CHANGELOG.md > "$doc/changelog.gz"
    {
        echo "KQueue, https://github.com/kqueue/kqueue: MIT or Apache-2.0, at your choice."
        echo "The Apache License is in /usr/share/common-licenses/Apache-2.0."
        echo "The libraries in it, with their licenses, are listed in third-party.gz."
        echo
        cat LICENSE-MIT
    } > "$doc/copyright"
    for crate in "$@"; do
        cargo tree --locked --package "$crate" --edges normal,no-proc-macro --prefix none --no-dedupe --format '{p}|{l}'
    done | sed '/(\//d; s/ v\([0-9]\)/|\1/' | sort -u | while IFS='|' read -r crate number license; do
        printf '\n==== %s %s: %s\n\n' "$crate" "$number" "$license"
        # Of several, the first: nearly everything is MIT, and says whose it is.
        for text in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-$number"/LICENSE-MIT* \
            "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-$number"/LICEN[CS]E* \
            "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-$number"/*LICEN[CS]E*; do
            [ ! -f "$text" ] || { cat "$text"; break; }
        done
    done | gzip -9n > "$doc/third-party.gz"
}

# The end of a package: finish NAME SECTION DEPENDS PROGRAM-OR-LIBRARY ... < description
finish() {
    name=$1 section=$2 depends=$3
    shift 3
    # dpkg-shlibdeps wants a source package around it. PHP's own symbols, which no library has, are not its business.
    mkdir -p "$work/shlibs/debian"
    printf 'Source: kqueue\n\nPackage: %s\nArchitecture: any\n' "$name" > "$work/shlibs/debian/control"
    objects=
    for object in "$@"; do
        objects="$objects $(realpath "$work/$name/$object")"
    done
    libraries=$(cd "$work/shlibs" && dpkg-shlibdeps -O --warnings=0 $objects | sed -n 's/^shlibs:Depends=//p')
    install -d "$work/$name/DEBIAN"
    {
        echo "Package: $name"
        echo "Source: kqueue"
        echo "Version: $version"
        echo "Architecture: $architecture"
        echo "Maintainer: The KQueue authors <kqueue@users.noreply.github.com>"
        echo "Installed-Size: $(du -sk --apparent-size "$work/$name" | cut -f1)"
        echo "Depends: $depends$libraries"
        echo "Section: $section"
        echo "Priority: optional"
        echo "Homepage: https://github.com/kqueue/kqueue"
        cat
    } > "$work/$name/DEBIAN/control"
    (cd "$work/$name" && find etc -type f -printf '/%p\n' | sort > DEBIAN/conffiles)
    (cd "$work/$name" && find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
    dpkg-deb --root-owner-group --build "$work/$name" "$work/${name}_${version}_$architecture.deb"
}

# The scripts of a package: scripts NAME TEMPLATE
scripts() {
    install -d "$work/$1/DEBIAN"
    for script in postinst prerm postrm; do
        sed "s/@PHP@/$php/g" "packaging/debian/$2.$script" > "$work/$1/DEBIAN/$script"
        chmod 755 "$work/$1/DEBIAN/$script"
    done
}

name=php$php-kqueue
root=$work/$name
extension=$("$php_config" --extension-dir)/kqueue.so
install -D -m 644 "$built/libkqueue.so" "$root$extension"
install -D -m 644 packaging/kqueue.ini "$root/etc/php/$php/mods-available/kqueue.ini"
documents "$name" kqueue
install -m 644 php/kqueue.stub.php "$root/usr/share/doc/$name/"
install -D -m 644 -t "$root/usr/share/doc/$name/examples" php/examples/*.php
scripts "$name" php-kqueue
finish "$name" php "php-common, phpapi-$("$php_config" --phpapi), " "$extension" <<END
Provides: php-kqueue
Suggests: kqueue-server
Description: message queue client for PHP: class KQueue
 Puts items on the queues of kqueue-server or Kestrel and takes them from there.
 Connections are pooled in each PHP process; a failed server is passed over.
 .
 kqueue.stub.php in /usr/share/doc/$name is the API, for people and editors.
END

name=kqueue-server
root=$work/$name
make --silent --no-print-directory install TARGET="$target" PROFILE=dist PREFIX=/usr DESTDIR="$root"
gzip -9n "$root"/usr/share/man/man1/*.1
# Where Debian's zsh looks.
mkdir "$root/usr/share/zsh/vendor-completions"
mv "$root"/usr/share/zsh/site-functions/* "$root/usr/share/zsh/vendor-completions/"
rmdir "$root/usr/share/zsh/site-functions"
documents "$name" kqueue-server kqueue-ctl
scripts "$name" kqueue-server
finish "$name" net "init-system-helpers (>= 1.54~), " usr/bin/kqueue-server usr/bin/kqueuectl <<END
Suggests: php-kqueue
Description: journaled message queue server
 A queue daemon that speaks Kestrel's memcache protocol and answers STORED only
 when the item is on the disk. With kqueuectl, which shows and steers it.
END
rm -rf "$work/shlibs"
