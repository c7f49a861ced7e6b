#!/bin/sh
# Builds what is shipped and looks at it from outside: the Debian packages (contents, sizes, libraries; installed, switched off, upgraded, removed),
# and the way from the sources by phpize, as PIE goes it.
#
#   scripts/package.sh
#
# PHP_CONFIG chooses the PHP; JOBS the number of workers. Changes nothing outside of the target directory: packages are installed in a copy of
# this system that ends with the script. Where that is not allowed (no root, or a container) they are unpacked only, and it says so.
set -eu
cd "$(dirname -- "$0")/.."

target=${CARGO_TARGET_DIR:-target}
php_config=$(command -v "${PHP_CONFIG:-php-config}")
# Of php-config8.2 it is phpize8.2.
phpize=$(echo "$php_config" | sed 's|php-config\([^/]*\)$|phpize\1|')
php=$("$php_config" --php-binary)
version=$("$php_config" --version | cut -d. -f1,2)
extension_dir=$("$php_config" --extension-dir)

refuse() {
    echo "package.sh: $*" >&2
    exit 1
}

# check_extension FILE: small, stripped, self-contained, and PHP takes it.
check_extension() {
    [ "$(stat -c %s "$1")" -lt 2000000 ] || refuse "$1 is larger than 2 MB"
    # The loader, which belongs to libc, is named by some compilers.
    needs=$(readelf --dynamic "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^ld-linux' | sort | tr '\n' ' ')
    [ "$needs" = "libc.so.6 libgcc_s.so.1 " ] || refuse "$1 needs $needs"
    ! readelf --sections "$1" | grep -q '\.debug_\|\.symtab' || refuse "$1 is not stripped"
    "$php" -n -d "extension=$1" -r 'new KQueue();'
}

echo "-- what differs between versions of PHP is in one file"
if grep -rnE 'php(8[0-9]|_zts|_debug)|PHP_VERSION' src --include='*.rs' | grep -v '^src/zend/compat.rs:'; then
    refuse "a version of PHP is asked for outside of src/zend/compat.rs"
fi

echo "-- Debian packages"
scripts/deb.sh
debs=$(realpath "$target/debian")
for deb in "$debs"/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    root=$debs/unpacked/$name
    rm -rf "$root"
    mkdir -p "$root"
    dpkg-deb --extract "$deb" "$root"
    dpkg-deb --control "$deb" "$root/DEBIAN"
    [ -z "$(dpkg-deb --contents "$deb" | awk '$2 != "root/root"')" ] || refuse "$deb: not everything belongs to root"
    (cd "$root" && md5sum --quiet --check DEBIAN/md5sums)
    for script in postinst prerm postrm; do
        sh -n "$root/DEBIAN/$script"
    done
    for document in copyright changelog.gz third-party.gz; do
        [ -s "$root/usr/share/doc/$name/$document" ] || refuse "$deb: no $document"
    done
    # Whatever is in /etc is an administrator's.
    [ "$(cd "$root" && find etc -type f -printf '/%p\n' | sort)" = "$(cat "$root/DEBIAN/conffiles")" ] || refuse "$deb: conffiles"
done
unpacked=$debs/unpacked/php$version-kqueue
depends=$(sed -n 's/^Depends: //p' "$unpacked/DEBIAN/control")
for package in "phpapi-$("$php_config" --phpapi)" libc6 libgcc-s1; do
    case ", $depends" in
        *", $package"*) ;;
        *) refuse "php$version-kqueue does not depend on $package: $depends" ;;
    esac
done
cmp packaging/kqueue.ini "$unpacked/etc/php/$version/mods-available/kqueue.ini"
check_extension "$unpacked$extension_dir/kqueue.so"
server=$debs/unpacked/kqueue-server/usr/bin/kqueue-server
"$server" --version

echo "-- installing, switching off, upgrading, removing"
copy=$target/package/system
mkdir -p "$copy"
copy=$(realpath "$copy")
# An overlay whose changes are in memory; it ends with the namespace it is mounted in.
overlay='mount -t tmpfs tmpfs "$1" && mkdir "$1/changes" "$1/work" "$1/root" &&
    mount -t overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" overlay "$1/root"'
if unshare --mount sh -c "$overlay" - "$copy" 2>/dev/null; then
    unshare --mount sh -euc "$overlay"'
        mount --rbind /dev "$1/root/dev"
        mount --rbind /proc "$1/root/proc"
        mkdir "$1/root/mnt/kqueue"
        cp "$2"/*.deb packaging/debian/try.sh "$1/root/mnt/kqueue"
        chroot "$1/root" sh /mnt/kqueue/try.sh "$3"' - "$copy" "$debs" "$version" > "$debs/install.log" 2>&1 ||
        { cat "$debs/install.log"; refuse "the packages do not install as they should"; }
else
    echo "   not tried: that takes root, a mount namespace and an overlay"
fi

echo "-- phpize"
[ "$("$php" -r 'echo json_decode(file_get_contents("composer.json"), true, 9, JSON_THROW_ON_ERROR)["php-ext"]["build-path"];')" = php ] ||
    refuse "composer.json: build-path"
# In a copy, since phpize writes beside its config.m4; at the same place each time, for cargo.
source=$target/package/source
rm -rf "$source"
mkdir -p "$source"
tar --exclude=./target --exclude=./fuzz/target --exclude=./.git --create . | tar --extract --directory "$source"
CARGO_TARGET_DIR=$(realpath "$target")
export CARGO_TARGET_DIR
(
    cd "$source/php"
    "$phpize"
    ./configure --with-php-config="$php_config"
    make
) > "$target/package/phpize.log" 2>&1 || { cat "$target/package/phpize.log"; refuse "phpize, configure or make failed"; }
source=$(realpath "$source")
check_extension "$source/php/modules/kqueue.so"
TEST_PHP_ARGS="-q --no-progress --show-diff --set-timeout 60 -g FAIL,XFAIL,XPASS,WARN,LEAK,XLEAK,SKIP,BORK -j${JOBS:-4}"
export TEST_PHP_ARGS
make --directory "$source/php" --silent test KQUEUE_SERVER="$server"
echo "   and without a server"
make --directory "$source/php" --silent test KQUEUE_SERVER= > "$target/package/skipped.log" 2>&1 ||
    { cat "$target/package/skipped.log"; refuse "make test fails without a server: does a new test lack the --SKIPIF-- of the others?"; }
grep '^Tests \(skipped\|passed\|failed\)' "$target/package/skipped.log"
# Root may have no cargo: make install must not want it.
rm -rf "$source/root"
make --directory "$source/php" --silent install INSTALL_ROOT="$source/root" CARGO=/bin/false
cmp "$source/php/modules/kqueue.so" "$source/root$extension_dir/kqueue.so"
make --directory "$source/php" --silent install INSTALL_ROOT="$source/root" CARGO=/bin/false
(cd "$source/php" && make --silent distclean > /dev/null && "$phpize" --clean > /dev/null)
rm -rf "$source/root"
