# Shared by ./up and ./test: makes this machine able to run Moonpool. Sourced, not run.

OLDEST_RUNSC=20240729

say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

require_root() {
  [ "$(id -u)" = 0 ] || fail "run this as root: it makes namespaces, mounts and network rules (try: sudo $0)"
  [ "$(uname -s)" = Linux ] || fail "Moonpool runs on Linux"
}

# Where apt's own runsc is too old or missing, a newer one is offered: Debian 12's from bookworm-backports, and nothing
# else from there; on other releases gVisor's own repository.
offer_runsc() {
  command -v runsc >/dev/null && return
  command -v apt-get >/dev/null || return 0
  . /etc/os-release
  if [ "${VERSION_CODENAME:-}" = bookworm ]; then
    offer_backport
  elif ! is_new_enough "$(apt-cache policy runsc 2>/dev/null | sed -n 's/^ *Candidate: *//p')"; then
    offer_gvisors_own
  fi
}

is_new_enough() {
  local day
  day=$(printf '%s' "$1" | grep -oE '20[0-9]{6}' | head -n 1)
  [ -n "$day" ] && [ "$day" -ge "$OLDEST_RUNSC" ]
}

offer_backport() {
  [ -e /etc/apt/sources.list.d/moonpool-backports.sources ] && return
  cat > /etc/apt/sources.list.d/moonpool-backports.sources <<'SOURCES'
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
  cat > /etc/apt/preferences.d/moonpool-backports <<'PREFERENCES'
Package: *
Pin: release n=bookworm-backports
Pin-Priority: -1

Package: runsc
Pin: release n=bookworm-backports
Pin-Priority: 600
PREFERENCES
}

offer_gvisors_own() {
  [ -e /etc/apt/sources.list.d/moonpool-gvisor.sources ] && return
  install_packages ca-certificates curl
  curl -fsSL https://gvisor.dev/archive.key -o /usr/share/keyrings/moonpool-gvisor.asc \
    || fail "this release has no runsc of $OLDEST_RUNSC or later and gvisor.dev cannot be reached; install runsc yourself"
  cat > /etc/apt/sources.list.d/moonpool-gvisor.sources <<SOURCES
Types: deb
URIs: https://storage.googleapis.com/gvisor/releases
Suites: release
Components: main
Architectures: $(dpkg --print-architecture)
Signed-By: /usr/share/keyrings/moonpool-gvisor.asc
SOURCES
}

# install_packages PACKAGE...: only what is missing; the package list is fetched only when something is.
install_packages() {
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "install these yourself on this distribution: ${missing[*]}"
  say "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

is_installed() {
  if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' && return
  fi
  [ "$1" = runsc ] && command -v runsc >/dev/null  # One that did not come with apt is as good.
}

# The first Python 3.11 or newer with venv; ordinary interpreters before version managers' shims.
find_python() {
  local candidate
  for candidate in /usr/bin/python3 /usr/bin/python3.1[1-9] python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  fail "no Python 3.11 or newer found"
}

# sync_environment OPTION...: .venv as the lock file says, with uv (itself kept in .venv-uv), all of it compiled: the
# command line is to answer at once, also where nobody may write compiled files later.
sync_environment() {
  local python
  python=$(find_python)
  [ -x .venv-uv/bin/uv ] || { "$python" -m venv .venv-uv && .venv-uv/bin/pip install -q 'uv>=0.5,<1'; }
  UV_PYTHON_DOWNLOADS=never .venv-uv/bin/uv sync -q --frozen --compile-bytecode --python "$python" "$@"
  .venv/bin/python -m compileall -q src
}

prepare_machine() {
  require_root
  offer_runsc
  install_packages runsc btrfs-progs mmdebstrap skopeo nftables zstd util-linux ca-certificates python3 python3-venv
}
