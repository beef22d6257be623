"""Programs of packages that make units before others start: PostgreSQL's makes one for each of its clusters.

They write into folders of their own, which are empty beforehand. systemd's own generators are passed over: what they
make (mounts, consoles) is not a sandbox's.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable

from .. import spawn
from ..errors import AgentError
from ..users import User
from .children import Child

PLACES = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
OUTPUTS = ("/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late")
TIMEOUT = 30.0  # seconds for all of them
SYSTEMD_ITSELF = "systemd-"


def programs() -> list[str]:
    """Paths; of two of the same name the first counts, and one that leads to /dev/null is none."""
    found: dict[str, str] = {}
    for place in PLACES:
        folder = f"{place}/systemd/system-generators"
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder)):
                found.setdefault(name, f"{folder}/{name}")
    return [
        path
        for name, path in found.items()
        if not name.startswith(SYSTEMD_ITSELF) and os.path.isfile(path) and os.access(path, os.X_OK)
    ]


async def run(root: User, environment: dict[str, str], watch: Callable[[int, Child], None]) -> list[str]:
    """Run them all, at the same time; what went wrong, a line each. ``watch`` has a child told of its end."""
    for folder in OUTPUTS:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.makedirs(folder)
    problems: list[str] = []
    children: dict[str, Child] = {}
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for path in programs():
            program = spawn.Program((path, *OUTPUTS), None, "/", root, environment, (nothing, nothing, nothing))
            try:
                children[path] = Child(spawn.start(program))
            except (AgentError, OSError) as error:
                problems.append(f"{path} could not be started: {error}")
                continue
            watch(children[path].pid, children[path])
    finally:
        os.close(nothing)
    if children:
        await asyncio.wait([child.ended for child in children.values()], timeout=TIMEOUT)
    for path, child in children.items():
        if child.alive:
            problems.append(f"{path} takes too long.")
        elif child.ended.result():
            problems.append(f"{path} failed.")
    return problems
