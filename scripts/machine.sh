# Shared by ./up and ./test: makes this machine able to run Moonpool. Sourced, not run.

say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

require_root() {
  [ "$(id -u)" = 0 ] || fail "run this as root: it makes namespaces, mounts and network rules (try: sudo $0)"
  [ "$(uname -s)" = Linux ] || fail "Moonpool runs on Linux"
}

# Debian 12's own runsc is too old; the one in bookworm-backports is taken, and nothing else from there.
offer_runsc() {
  command -v runsc >/dev/null && return
  . /etc/os-release
  [ "${VERSION_CODENAME:-}" = bookworm ] || return 0
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
  APT_LIST_IS_OLD=1
}

# install_packages PACKAGE...: only what is missing; the package list is fetched only when something is.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "install these yourself on this distribution: ${missing[*]}"
  say "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
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

# sync_environment GROUPS...: .venv as the lock file says, with uv (itself kept in .venv-uv).
sync_environment() {
  local python
  python=$(find_python)
  [ -x .venv-uv/bin/uv ] || { "$python" -m venv .venv-uv && .venv-uv/bin/pip install -q 'uv>=0.5,<1'; }
  UV_PYTHON_DOWNLOADS=never .venv-uv/bin/uv sync -q --frozen --compile-bytecode --python "$python" "$@"
}

prepare_machine() {
  require_root
  offer_runsc
  install_packages runsc btrfs-progs mmdebstrap nftables zstd util-linux ca-certificates python3 python3-venv
}
