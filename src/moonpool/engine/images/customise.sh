#!/bin/sh
# Run by mmdebstrap when the packages are in: customise.sh ROOT OVERLAY NAME:NUMBER:HOME...
set -eu
root=$1 overlay=$2
shift 2

# Its place is taken by a program that works where the set-user-id bit does not.
chroot "$root" dpkg-divert --quiet --local --rename --divert /usr/bin/sudo.real --add /usr/bin/sudo
cp -a "$overlay/." "$root/"
chroot "$root" update-ca-certificates >/dev/null

# /usr/local belongs to the group staff, by Debian's old custom, so that `pip install` and `npm install --global`
# work for every user of the sandbox and land on everybody's PATH.
mkdir -p "$root/usr/local/lib/python3.11/dist-packages" "$root/usr/local/etc"
chroot "$root" chgrp -R staff /usr/local
find "$root/usr/local" -type d -exec chmod 2775 {} +

for entry in "$@"; do
  name=${entry%%:*} rest=${entry#*:}
  number=${rest%%:*} home=${rest#*:}
  chroot "$root" groupadd --gid "$number" "$name"
  chroot "$root" useradd --uid "$number" --gid "$number" --groups sudo,staff --home-dir "$home" --create-home \
    --shell /bin/bash "$name"
done
chroot "$root" visudo --check --quiet
mkdir -p "$root/.agent"
chmod 1777 "$root/tmp" "$root/var/tmp"

# Each start of Python during the installation may have compiled what it loaded by the sources' time stamps, which
# are not those of the archive: a hash of the source is to count instead.
for folder in "$root"/usr/lib/python3*; do
  chroot "$root" python3 -m compileall -q -f --invalidation-mode checked-hash "${folder#"$root"}"
done

# What differs from build to build, or is of no use inside; mmdebstrap itself empties apt's folders.
find "$root/var/log" -type f -delete
rm -rf "$root"/var/cache/debconf/*-old "$root"/var/cache/ldconfig/aux-cache "$root"/var/lib/dpkg/*-old \
  "$root"/etc/*- "$root"/root/.cache
