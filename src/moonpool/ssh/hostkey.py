"""The server's SSH host key: made once, the same ever after, so that clients know the server again."""

import contextlib
import os
import secrets
from pathlib import Path

import asyncssh

NAME = "ssh_host_key"


def host_key(data: Path) -> asyncssh.SSHKey:
    """Published whole by a link, so that a server killed in between leaves none, and two that start at once agree."""
    path = data / NAME
    if not path.exists():
        made = data / f"{NAME}.{secrets.token_hex(8)}"
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(asyncssh.generate_private_key("ssh-ed25519", "moonpool").export_private_key())
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
        finally:
            made.unlink()
    return asyncssh.read_private_key(path)
