"""Asking the installed runsc what it is and what it can do."""

import os
import re
import subprocess
from pathlib import Path

from moonpool.engine.gvisor.model import Capabilities
from moonpool.errors import MachineUnfit

OLDEST = 20240729  # the release that everything here was first tried with
PLATFORM = "systrap"
HINT = (
    f"Install runsc of {OLDEST} or later: Debian has it in bookworm-backports and in trixie; "
    "gVisor's own apt repository has newer ones, which start and restore faster."
)

# With these every runsc is called. The root is a host folder, so no overlay; nobody else writes to it, so its files may
# be cached ("exclusive"). The mounts are for volumes, which others write to as well.
NEEDED = {
    "network": "sandbox",
    "platform": PLATFORM,
    "overlay2": "none",
    "file-access": "exclusive",
    "file-access-mounts": "shared",
    "net-disconnect-ok": "true",
    "ignore-cgroups": "true",
}
CHECKPOINT_NEEDED = ("image-path", "leave-running")
RESTORE_NEEDED = ("image-path", "bundle", "detach")


def probe(runsc: str) -> Capabilities:
    """Raises MachineUnfit, with what to install, where runsc is missing, too old or lacks a flag."""
    version = _version(_ask(runsc, "--version"))
    known = _flags(_ask(runsc, "flags"))
    checkpoint, restore = _flags(_ask(runsc, "help", "checkpoint")), _flags(_ask(runsc, "help", "restore"))
    missing = [name for name in (*NEEDED, "root", "log") if name not in known]
    missing += [f"checkpoint {name}" for name in CHECKPOINT_NEEDED if name not in checkpoint]
    missing += [f"restore {name}" for name in RESTORE_NEEDED if name not in restore]
    if missing:
        raise MachineUnfit(f"runsc {version} does not know: {', '.join(missing)}", hint=HINT)
    return Capabilities(
        version=version,
        flags=tuple(f"--{name}={value}" for name, value in NEEDED.items()),
        checkpoint_flags=("--compression=none",) if "compression" in checkpoint else (),
        restore_flags=("--detach",),
        platform=PLATFORM,
        architecture=os.uname().machine,
        cpu_features=cpu_features(),
    )


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """The first processor's feature words: "flags" on x86, "Features" on arm64."""
    for line in cpuinfo.read_text().splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return tuple(sorted(set(words.split())))
    return ()


def _ask(runsc: str, *arguments: str) -> str:
    try:
        done = subprocess.run([runsc, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise MachineUnfit(f"there is no {runsc} here", hint=HINT) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineUnfit(f"{runsc} does not run: {error}", hint=HINT) from error
    return done.stdout + done.stderr


def _version(text: str) -> str:
    """The version's word; Debian says "0.0~20240729.0", gVisor "release-20240729.0"."""
    found = re.search(r"runsc version (\S+)", text)
    if not found:
        raise MachineUnfit(f"runsc does not tell its version: {text[:200]!r}", hint=HINT)
    day = re.search(r"\d{8}", found[1])
    if day and int(day[0]) < OLDEST:
        raise MachineUnfit(f"runsc {found[1]} is too old", hint=HINT)
    return found[1]


def _flags(text: str) -> set[str]:
    return set(re.findall(r"^\s+-([A-Za-z0-9_-]+)", text, re.MULTILINE))
