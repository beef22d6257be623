"""What makes one sandbox differ from another inside: names, addresses, environment, secret."""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from moonpool.engine.network.addresses import GUEST_ADDRESS
from moonpool.guest.model import Identity
from moonpool.hosts.beneath import FOLDER_FLAGS
from moonpool.hosts.model import DEFAULT_PIDS, MEBIBYTE, MachineSpec

WARM_HOSTNAME = "moonpool"
USUAL_CPU, USUAL_MEMORY_MIB = 1.0, 1024
FOLDER = "etc"
FILE_MODE = 0o644
FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def warm_identity(secret: str) -> Identity:
    """For a member that belongs to nobody yet: only the secret matters. It is given the size of most sandboxes as well,
    since whatever an agent does for the second time is quicker."""
    cpu, memory_bytes = USUAL_CPU, USUAL_MEMORY_MIB * MEBIBYTE
    return Identity(
        secret=secret.encode(), hostname=WARM_HOSTNAME, processes=DEFAULT_PIDS, cpu=cpu, memory_bytes=memory_bytes
    )


def identity_of(spec: MachineSpec, secret: str, files: Mapping[str, str], *, at_leisure: bool = False) -> Identity:
    """``files``: those of `identity_files` that the agent is to write; the others are left as they are."""
    return Identity(
        hostname=spec.hostname,
        hosts=files.get("hosts"),
        resolv_conf=files.get("resolv.conf"),
        env=dict(spec.env),
        machine_id=files.get("machine-id"),
        secret=secret.encode(),
        user=spec.user,
        group=spec.group,
        workdir=spec.workdir,
        processes=spec.resources.pids,
        cpu=spec.resources.cpu,
        memory_bytes=spec.resources.memory_mib * MEBIBYTE,
        at_leisure=at_leisure,
    )


def identity_files(spec: MachineSpec, resolv_conf: str) -> dict[str, str]:
    """Names in /etc and their contents.

    localhost is no IPv6 address, since there is none inside: what fails to connect says so of an address that could be.
    curl names both by itself, so ``curl --retry-connrefused`` needs ``-4`` or 127.0.0.1 here.
    """
    return {
        "hostname": f"{spec.hostname}\n",
        "hosts": f"127.0.0.1 localhost\n{GUEST_ADDRESS} {spec.hostname}\n",
        "resolv.conf": resolv_conf,
        "machine-id": f"{hashlib.sha256(spec.id.encode()).hexdigest()[:32]}\n",
    }


def write_identity_files(root: Path, files: Mapping[str, str]) -> None:
    """Into a disk that nothing runs on: ten times cheaper than from inside. Raises OSError (no /etc, a full disk).

    Whatever links the image has in these places are replaced, never followed.
    """
    top = os.open(root, FOLDER_FLAGS)
    try:
        folder = os.open(FOLDER, FOLDER_FLAGS, dir_fd=top)
        try:
            for name, content in files.items():
                replace_file(folder, name, content.encode(), FILE_MODE)
        finally:
            os.close(folder)
    finally:
        os.close(top)


def replace_file(folder: int, name: str, content: bytes, mode: int) -> None:
    """The whole file or none, below an open folder; a link in its place gives way. Raises OSError."""
    temporary = f"{name}.moonpool"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    try:
        with open(os.open(temporary, FILE_FLAGS, mode, dir_fd=folder), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
