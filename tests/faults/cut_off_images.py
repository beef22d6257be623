"""A push as the registry carries it out on disk, once for each of its steps by a process that is killed there.

    python -m tests.faults.cut_off_images FOLDER

The process for FOLDER/N dies before its N-th call of what changes a disk for good. Prints the first N that is not
reached.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moonpool.registry.folder import TeamFolder, make_folder
from moonpool.registry.model import read_manifest
from moonpool.registry.uploads import Session

CALLS = ("fsync", "rename", "mkdir")
PARTS = (b"{}", b"a layer" * 1000)
KIND = "application/vnd.oci.image.manifest.v1+json"

calls = 0


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def counted(call: Callable[..., Any], last: int) -> Callable[..., Any]:
    def counting(*arguments: Any, **options: Any) -> Any:
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)

    return counting


def manifest() -> bytes:
    config, layer = ({"digest": f"sha256:{sha256(part)}", "size": len(part)} for part in PARTS)
    return json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": config, "layers": [layer]}).encode()


def push(folder: TeamFolder) -> None:
    make_folder(folder.uploads)
    for part in PARTS:
        path = folder.uploads / os.urandom(16).hex()
        path.touch()
        session = Session(path)
        session.append(part[: len(part) // 2], 0)
        session.append(part[len(part) // 2 :], len(part) // 2)
        session.seal(sha256(part))
        folder.add_blob(path, sha256(part))
    content = manifest()
    folder.add_manifest("app", read_manifest(content, sha256(content), KIND), content, "1")


def killed_at(step: int, folder: Path) -> bool:
    """False: it came to its end."""
    child = os.fork()
    if not child:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name), step))
        push(TeamFolder(folder))
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    step = 1
    while killed_at(step, Path(sys.argv[1]) / str(step)):
        step += 1
    print(step)
