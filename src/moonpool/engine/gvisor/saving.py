"""A sandbox's memory, written by its own kernel at a call through its control socket.

``runsc checkpoint`` makes the same call, with files that it must create itself. Without it a sandbox that is copied
stands still for 40 ms less, and the files may be ones whose pages are there already.
"""

import contextlib
import os
from pathlib import Path

from moonpool.engine.gvisor import control

PAGES_FILE = "pages.img"
FILES = ("checkpoint.img", "pages_meta.img", PAGES_FILE)  # in the order of the call, see createSaveFiles in runsc
KNOWN = "20240729"  # the release whose form of the call this is: later ones add to it
METHOD = "containerManager.Checkpoint"
ARGUMENT = {
    "metadata": {"compression": "none"},
    "MemoryFileSaveOpts": {"ExcludeCommittedZeroPages": False},
    "have_pages_file": True,
    "Resume": True,
}


def known(version: str) -> bool:
    """Whether this runsc can be called so; ``runsc checkpoint`` itself is for the others."""
    return KNOWN in version


def save(socket: Path, folder: Path, timeout: float) -> None:
    """Blocking. Write a checkpoint's files into ``folder``; what they held before is gone. Raises EngineError with
    gVisor's reason, AgentTimeout, and OSError where a file cannot be had."""
    with contextlib.ExitStack() as opened:
        files = [os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in FILES]
        for file in files:
            opened.callback(os.close, file)
        control.call(socket, METHOD, timeout, argument=ARGUMENT, files=files)
        for file in files:
            os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR))
