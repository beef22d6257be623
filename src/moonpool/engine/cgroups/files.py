"""Reading and writing control files; the kernel's refusals become the engine's errors."""

import os
from pathlib import Path

from moonpool.errors import EngineError


def write(path: Path, text: str) -> None:
    """Write a control file that exists; raises EngineError that names the file and what the kernel said."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise EngineError(f"cannot write {text!r} to {path}: {error.strerror}") from error


def read_int(path: Path, default: int = 0) -> int:
    """A control file's single number; ``default`` where the file is missing or says "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return default
    return int(text) if text.isdigit() else default


def read_pairs(path: Path) -> dict[str, int]:
    """A control file of ``key number`` lines; empty where it is missing."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].lstrip("-").isdigit()}


def read_pids(path: Path) -> list[int]:
    """The process ids in a ``cgroup.procs`` file; none where the group is gone."""
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:
        return []
