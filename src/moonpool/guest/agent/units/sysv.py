"""Services that have no unit but a script in /etc/init.d, as systemd's own generator turns them into units."""

import contextlib
import os
import re

from ..users import read_small

SCRIPTS = "/etc/init.d"
STARTED = "/etc/rc3.d"  # links to what starts by itself, S and two digits before their names
LINK = re.compile(r"S\d\d(.+)")
HEADER = re.compile(r"^#\s*Short-Description:\s*(.+)$", re.MULTILINE)
RELOADS = re.compile(r"^\s*\(?(?:[\w-]+\s*\|\s*)*reload\s*(?:\|\s*[\w-]+\s*)*\)", re.MULTILINE)
TIMEOUT = "5min"
Values = dict[tuple[str, str], list[str]]


def script_of(name: str) -> str | None:
    """The path of a service's script; None where there is none."""
    stem, _, kind = name.rpartition(".")
    path = f"{SCRIPTS}/{stem}"
    return path if kind == "service" and os.path.isfile(path) and os.access(path, os.X_OK) else None


def started() -> list[str]:
    """Names of the services whose scripts are to run when the sandbox starts."""
    with contextlib.suppress(OSError):
        found = (LINK.fullmatch(entry) for entry in sorted(os.listdir(STARTED)))
        return [f"{match.group(1)}.service" for match in found if match]
    return []


def settings(path: str) -> Values:
    """What a unit file for this script would say."""
    text = read_small(path).decode(errors="replace")
    header = HEADER.search(text)
    description = header.group(1) if header else os.path.basename(path)
    found = {
        ("Unit", "Description"): f"LSB: {description}".replace("%", "%%"),
        ("Service", "Type"): "forking",
        ("Service", "Restart"): "no",
        ("Service", "TimeoutSec"): TIMEOUT,
        ("Service", "KillMode"): "process",
        ("Service", "RemainAfterExit"): "yes",
        ("Service", "SuccessExitStatus"): "5 6",
        ("Service", "Environment"): "SYSTEMCTL_SKIP_REDIRECT=1",  # Else some scripts would ask for themselves.
        ("Service", "ExecStart"): f"{path} start",
        ("Service", "ExecStop"): f"{path} stop",
    }
    if RELOADS.search(text):
        found["Service", "ExecReload"] = f"{path} reload"
    return {key: [value] for key, value in found.items()}
