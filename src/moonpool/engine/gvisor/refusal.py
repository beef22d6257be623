"""Why runsc would not do something, in words for a human."""

import json
import os
from pathlib import Path

from moonpool.engine.gvisor.model import Running
from moonpool.engine.gvisor.spec import LATE_ROOT
from moonpool.errors import CheckpointRefused

HEAD_BYTES = 16_384  # of a log: the reason stands first, then come a dump and a stack, which may be long
LONGEST_REASON = 300  # characters
DELETED_OPEN = "deleted and invalidated dentries"
DELETED = " (deleted)"


def reason(log: Path) -> str:
    """What runsc wrote first, shortened; empty where it wrote nothing."""
    return shortened(head(log))


def head(log: Path) -> str:
    """The beginning of what runsc wrote; empty where there is nothing."""
    try:
        with log.open("rb") as file:
            return file.read(HEAD_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""


def shortened(told: str) -> str:
    """Its first line, without what runsc puts around it."""
    first = told.partition("\n")[0]
    try:
        first = str(json.loads(first)["msg"])
    except (ValueError, KeyError, TypeError):
        first = first.removeprefix('{"msg":"')
    return first if len(first) <= LONGEST_REASON else f"{first[:LONGEST_REASON]}…"


def refusal(name: str, running: Running | None, told: str) -> CheckpointRefused:
    """The error for a checkpoint that failed for what is ``told``; its detail ``paths`` lists the files that are the
    cause, where known."""
    paths = deleted_open_files(running) if running and DELETED_OPEN in told else []
    if paths:
        return CheckpointRefused(
            f"the memory of {name} cannot be saved while deleted files are open in it: {', '.join(paths)}",
            hint="Close these files, or end the programs that hold them, or stop the sandbox instead.",
            paths=paths,
        )
    return CheckpointRefused(f"the memory of {name} cannot be saved: {shortened(told)}")


def deleted_open_files(running: Running) -> list[str]:
    """Paths, as the sandbox has them, of files on its disk that are deleted and still open."""
    folder = Path(f"/proc/{running.sandbox_pid}/fd")
    found = set()
    try:
        for entry in folder.iterdir():
            _, inside, path = _link(entry).partition(LATE_ROOT)
            if inside and path.endswith(DELETED):
                found.add(path.removesuffix(DELETED))
    except OSError:
        return []
    return sorted(found)


def _link(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:
        return ""
