#!/bin/sh
# Run by mmdebstrap when the packages are in: customise.sh ROOT OVERLAY WHEELS NAME:NUMBER:HOME...
set -eu
root=$1 overlay=$2 wheels=$3
shift 3

# Its place is taken by a program that works where the set-user-id bit does not.
chroot "$root" dpkg-divert --quiet --local --rename --divert /usr/bin/sudo.real --add /usr/bin/sudo
cp -a "$overlay/." "$root/"
chroot "$root" update-ca-certificates >/dev/null

# As pip installs them, so that users' own pip can exchange them. Tests of theirs are a tenth of them.
if [ -s "$wheels/requirements.txt" ]; then
  cp -r "$wheels" "$root/tmp/wheels"
  chroot "$root" python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --find-links /tmp/wheels --requirement /tmp/wheels/requirements.txt
  rm -r "$root/tmp/wheels"
  find "$root/usr/local/lib/python3.11" -type d -name tests -prune -exec rm -r {} +
fi

# Each start of Python during the installation may have compiled what it loaded by the sources' time stamps, which
# are not those of the archive: a hash of the source is to count instead.
mkdir -p "$root/usr/local/lib/python3.11/dist-packages" "$root/usr/local/etc"
for folder in "$root"/usr/lib/python3* "$root/usr/local/lib/python3.11"; do
  chroot "$root" python3 -m compileall -q -f --invalidation-mode checked-hash "${folder#"$root"}"
done

# /usr/local belongs to the group staff, by Debian's old custom, so that `pip install` and `npm install --global`
# work for every user of the sandbox and land on everybody's PATH.
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

# Matplotlib looks for fonts at its first import, for each user, for seconds.
rm -rf "$root/root/.cache"
if [ -d "$root/usr/local/lib/python3.11/dist-packages/matplotlib" ]; then
  for entry in root:0:/root "$@"; do
    chroot "$root" runuser -u "${entry%%:*}" -- env HOME="${entry##*:}" python3 -Bc 'import matplotlib.font_manager'
  done
fi

# What differs from build to build, or is of no use inside; mmdebstrap itself empties apt's folders.
find "$root/var/log" -type f -delete
rm -rf "$root"/var/cache/debconf/*-old "$root"/var/cache/ldconfig/aux-cache "$root"/var/lib/dpkg/*-old \
  "$root"/etc/*-
