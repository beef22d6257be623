"""Puts ``systemctl`` and its like, and ``df``, where programs in the sandbox find them, whatever image it has."""

import contextlib
import os

from ..disks import SERVICE
from ..users import read_small

PLACE = "/usr/local/bin"  # found before a systemctl of the image's own, which has nobody to talk to here
ELSEWHERE = "/usr/bin"
# Scripts of Debian's packages start nothing where there is no init; there is one, though not as a file.
INIT, ASKS_FOR_INIT = "/usr/sbin/init", "/usr/sbin/invoke-rc.d"
PYTHON = "/.agent/lib/ld.so --library-path /.agent/lib /.agent/bin/python3 -I -S /.agent/agent"
UNITS = "# Speaks to the sandbox's own service manager."
DISKS = "# Tells the sizes of the sandbox's own disks."
SPEAKING = ("systemctl", "journalctl", "systemd-notify", "systemd-tmpfiles")
PROGRAMS = {
    **{name: (UNITS, f"units/client.py {name}") for name in SPEAKING},
    "df": (DISKS, f"df.py {SERVICE}"),
}
SCRIPT = """#!/bin/sh
{mark}
exec {python}/{program} "$@"
"""


def scripts() -> dict[str, bytes]:
    return {
        name: SCRIPT.format(mark=mark, python=PYTHON, program=program).encode()
        for name, (mark, program) in PROGRAMS.items()
    }


def install() -> bool:
    """Write them where they are missing, and say whether any was; nothing is done to an image without a shell, or to a
    full disk."""
    if not os.path.exists("/bin/sh"):
        return False
    missing = False
    with contextlib.suppress(OSError):
        os.makedirs(PLACE, exist_ok=True)
        for name, text in scripts().items():
            if read_small(f"{PLACE}/{name}") != text:
                missing = True
                _write(f"{PLACE}/{name}", text)
            if not os.path.lexists(f"{ELSEWHERE}/{name}"):
                os.symlink(f"{PLACE}/{name}", f"{ELSEWHERE}/{name}")
        if not os.path.lexists(INIT) and os.path.exists(ASKS_FOR_INIT):
            os.symlink(f"{PLACE}/systemctl", INIT)
    return missing


def _write(path: str, text: bytes) -> None:
    """The whole file or none; a link in its place gives way."""
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755), "wb") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    os.rename(temporary, path)
