#!/bin/sh
# Installs the packages that lie beside it, and all that becomes of them later: for scripts/package.sh, in a copy of the system.
#
#   try.sh PHP-VERSION
set -eux
cd "$(dirname -- "$0")"
version=$1
modules=/etc/php/$version

# on or off. A PHP that complains says more than that, and is neither.
extension() {
    "php$version" -r 'echo extension_loaded("kqueue") ? "on" : "off";' 2>&1
}

# As in a container: no service is started.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

dpkg --install ./*.deb
test "$(extension)" = on
for sapi in "$modules"/*/conf.d; do
    test -e "$sapi/25-kqueue.ini"
done
kqueue-server check-config /etc/kqueue.toml > /dev/null
kqueuectl --version
test -e /etc/systemd/system/multi-user.target.wants/kqueue-server.service

# An upgrade leaves what an administrator has changed.
echo 'kqueue.retries = 5' >> "$modules/mods-available/kqueue.ini"
dpkg --install ./*.deb
test "$("php$version" -r 'echo ini_get("kqueue.retries");')" = 5
phpdismod -v "$version" kqueue
dpkg --install ./*.deb
test "$(extension)" = off
phpenmod -v "$version" kqueue
test "$(extension)" = on

dpkg --remove "php$version-kqueue" kqueue-server
test -e "$modules/mods-available/kqueue.ini"
test "$(extension)" = off
dpkg --purge "php$version-kqueue" kqueue-server
test -z "$(find /etc /usr/bin /usr/lib/php /usr/lib/systemd /usr/share/doc /var/lib/php /var/lib/systemd -name '*kqueue*')"
