"""What runsc itself remembers of its sandboxes: a JSON file each below its root folder."""

import contextlib
import json
import re
from pathlib import Path

from moonpool.engine.gvisor.model import Running

# runsc's files: NAME_sandbox:NAME.state, NAME_sandbox:NAME.lock and runsc-NAME.sock.
OWNER = re.compile(r"(?P<state>.+)_sandbox:(?P=state)\..+|runsc-(?P<socket>.+)\.sock")


def state_file(root: Path, name: str) -> Path:
    return root / f"{name}_sandbox:{name}.state"


def read(root: Path, name: str) -> Running | None:
    """The sandbox's process ids as runsc wrote them down; None where it has no (whole) state for it."""
    try:
        state = json.loads(state_file(root, name).read_text())
        return Running(name, int(state["sandbox"]["pid"]), int(state["goferPid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def names(root: Path) -> list[str]:
    """Every sandbox runsc has a file of, sorted; its processes may be dead."""
    found = (OWNER.fullmatch(entry.name) for entry in root.iterdir())
    return sorted({match["state"] or match["socket"] for match in found if match})


def forget(root: Path, name: str) -> None:
    """Remove runsc's files of a sandbox whose processes are gone: all that `runsc delete` would still do.

    A control socket that is left makes the next start under the same name fail.
    """
    for entry in root.iterdir():
        match = OWNER.fullmatch(entry.name)
        if match and name in (match["state"], match["socket"]):
            entry.unlink(missing_ok=True)


def alive(running: Running) -> bool:
    """Whether the process with the sandbox's id is still that sandbox, since ids are used again."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{running.sandbox_pid}/cmdline").read_bytes().split(b"\0")
        return words[0] == b"runsc-sandbox" and running.name.encode() in words
    return False
