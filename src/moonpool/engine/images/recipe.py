"""What the base image is made of."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path

from moonpool.engine.images.wheels import PURE, WHEELS, Wheel
from moonpool.errors import MachineUnfit

HOST_CERTIFICATES = Path("/usr/local/share/ca-certificates")
NPM_ARCHITECTURES = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}
ESBUILD_INTEGRITY = {
    "linux-x64": "sha512-4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ==",
    "linux-arm64": "sha512-pW4AC0P3it8c7do9MVM4p51FzHzdM/TZrerurgRcHJ2WTa1VQ1CIq18xncfpBJw4ojkiZZrKW2yIBWBP92j6Ug==",
}


@dataclass(frozen=True)
class User:
    """A user of the image; its group has the same name and number, its password is locked, its sudo asks for none."""

    name: str
    number: int
    home: str


@dataclass(frozen=True)
class NodePackage:
    """A package of the npm registry, by its Subresource Integrity; ``folder`` is below /usr/local/lib/node_modules."""

    name: str
    version: str
    integrity: str
    folder: str

    @property
    def url(self) -> str:
        return f"https://registry.npmjs.org/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


@dataclass(frozen=True)
class RootFile:
    """A file to put into the image, after the packages are installed."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True)
class Recipe:
    """Equal recipes have equal digests; a base image is rebuilt exactly when its digest changes.

    ``epoch`` (Unix time) is the latest time stamp in the image.
    """

    suite: str
    epoch: int
    packages: tuple[str, ...]
    node_packages: tuple[NodePackage, ...]
    wheels: tuple[Wheel, ...]
    files: tuple[RootFile, ...]
    links: tuple[Link, ...]
    users: tuple[User, ...]
    architecture: str
    customise: str
    dpkg_options: tuple[str, ...]
    apt_options: tuple[str, ...]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


PACKAGES = (
    "bash", "ca-certificates", "coreutils", "curl", "git", "iproute2", "less", "nodejs", "openssh-client", "procps",
    "python-is-python3", "python3", "python3-pip", "python3-pylsp", "python3-requests", "python3-venv", "sudo",
    "unzip", "vim-tiny",
)  # fmt: skip

# A screen without a monitor, a window manager, the screen over VNC and in a browser, what moves mouse and keyboard,
# takes pictures and films, accessibility, and some programs to use: a terminal, an editor, a browser.
DESKTOP_PACKAGES = (
    "at-spi2-core", "chromium", "dbus", "dbus-x11", "ffmpeg", "fonts-dejavu-core", "fonts-noto-color-emoji",
    "gir1.2-atspi-2.0", "maim", "mousepad", "novnc", "openbox", "python3-gi", "wmctrl", "x11vnc", "stterm", "xdotool",
    "xvfb",
)  # fmt: skip

# Debian's own npm pulls in some 350 packages; the registry's is one archive. tsx runs TypeScript, which Node 18 cannot.
NODE_PACKAGES = (
    NodePackage(
        "npm",
        "10.9.9",
        "sha512-1g+6jLQvaIuB4zwvHL7yrXuXcWZwDsCtBX8bbWDqbvJSSr9nPiDDWTHNgwXR27iIcTTW7v3A57hDW9RYv2W4Yg==",
        "npm",
    ),
    NodePackage(
        "tsx",
        "4.23.15",
        "sha512-Yiex1Ovn8z2xPpOWckIiysV1SSyRMY9BkLF++q0yKiDxCqRhosKfMg3janKkiLBwZ5c/YryloKwGZcrEmtwxKw==",
        "tsx",
    ),
    NodePackage(
        "esbuild",
        "0.28.2",
        "sha512-HKVLS8dvII+xoKW9kmqxbRKrnWEXfJJr/FZhhJmiqIB0e053QNYFqOBouTMO/k5sID4MvCiUCvv8b9M4h32wIA==",
        "tsx/node_modules/esbuild",
    ),
    NodePackage(
        "typescript",
        "5.9.3",
        "sha512-jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
        "typescript",
    ),
    NodePackage(
        "typescript-language-server",
        "4.4.1",
        "sha512-vEvDw+cjY75afMN2rhx0z8sQtFDAUHoBniksBmB6NUZlDt0rEIwQq01VMiqyXFm9uZwcED2475cmDeXxoDHleg==",
        "typescript-language-server",
    ),
)

LINKS = (
    Link("/usr/local/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js"),
    Link("/usr/local/bin/npx", "../lib/node_modules/npm/bin/npx-cli.js"),
    Link("/usr/local/bin/tsx", "../lib/node_modules/tsx/dist/cli.mjs"),
    Link("/usr/local/bin/tsc", "../lib/node_modules/typescript/bin/tsc"),
)

# Chromium's own sandbox needs namespaces that gVisor does not give; the sandbox around it is the one that holds.
DESKTOP_FILES = (
    RootFile(
        "/etc/chromium.d/sandbox",
        'export CHROMIUM_FLAGS="$CHROMIUM_FLAGS --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"\n',
    ),
)

# A sandbox belongs to its user: no marker that keeps pip from installing, documentation left out for good, and names
# that do not resolve cost sudo nothing (it would otherwise ask for its own).
FILES = (
    RootFile("/etc/sudoers.d/sandbox", "Defaults !fqdn\nDefaults !lecture\n%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440),
    RootFile("/etc/default/locale", "LANG=C.UTF-8\n"),
    RootFile("/etc/environment", "LANG=C.UTF-8\n"),
    RootFile("/etc/hostname", "sandbox\n"),
    RootFile("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    RootFile("/etc/resolv.conf", ""),
    RootFile("/etc/machine-id", ""),
    RootFile("/etc/pip.conf", "[global]\ndisable-pip-version-check = true\nroot-user-action = ignore\n"),
    # The package's own program has no execute bit, which npm would give it.
    RootFile(
        "/usr/local/bin/typescript-language-server",
        '#!/bin/sh\nexec node /usr/local/lib/node_modules/typescript-language-server/lib/cli.mjs "$@"\n',
        0o755,
    ),
    RootFile(
        "/usr/local/lib/node_modules/npm/npmrc",
        "prefix=/usr/local\ncafile=/etc/ssl/certs/ca-certificates.crt\nupdate-notifier=false\nfund=false\n",
    ),
)

DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/lib/python3*/EXTERNALLY-MANAGED",
)

APT_OPTIONS = ('Acquire::Languages "none"', 'Acquire::Retries "3"', 'APT::Install-Recommends "false"')

USERS = (
    User("daytona", 1000, "/home/daytona"),
    User("wrenn-user", 1001, "/home/wrenn-user"),
    User("user", 1002, "/home/user"),
)


def base_recipe(further: Iterable[str] = ()) -> Recipe:
    """The recipe for this machine's architecture, with the certificates that this machine trusts beyond Debian's, and
    with ``further`` packages of Debian's."""
    machine = platform.machine()
    node = NPM_ARCHITECTURES.get(machine)
    if node is None:
        raise MachineUnfit(f"There is no base image for {machine}", hint=f"Known: {', '.join(NPM_ARCHITECTURES)}.")
    compiler = NodePackage(f"@esbuild/{node}", "0.28.2", ESBUILD_INTEGRITY[node], f"tsx/node_modules/@esbuild/{node}")
    folder = resources.files(__package__)
    sudo = RootFile("/usr/bin/sudo", folder.joinpath("sudo_client.py").read_text(), 0o755)
    esbuild = Link("/usr/local/bin/esbuild", f"../lib/node_modules/{compiler.folder}/bin/esbuild")
    return Recipe(
        suite="bookworm",
        epoch=1_790_000_000,
        packages=(*PACKAGES, *sorted({*further} - {*PACKAGES})),
        node_packages=(*NODE_PACKAGES, compiler),
        wheels=(*PURE, *WHEELS[machine]),
        files=(*FILES, sudo, *host_certificates()),
        links=(*LINKS, esbuild),
        users=USERS,
        architecture=machine,
        customise=folder.joinpath("customise.sh").read_text(),
        dpkg_options=DPKG_OPTIONS,
        apt_options=APT_OPTIONS,
    )


def desktop_recipe(further: Iterable[str] = ()) -> Recipe:
    """The base image with a desktop."""
    base = base_recipe(further)
    packages = tuple(sorted({*base.packages, *DESKTOP_PACKAGES}))
    return replace(base, packages=packages, files=(*base.files, *DESKTOP_FILES))


def host_certificates(folder: Path = HOST_CERTIFICATES) -> tuple[RootFile, ...]:
    """Where the operator's network looks into TLS, programs in sandboxes need to trust it as the host does."""
    found = sorted(folder.glob("*.crt")) if folder.is_dir() else []
    return tuple(RootFile(f"{HOST_CERTIFICATES}/{path.name}", path.read_text()) for path in found)
