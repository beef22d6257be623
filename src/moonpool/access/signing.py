"""The server's own secret, with which it signs what it hands to clients and takes back."""

import contextlib
import os
import secrets
from pathlib import Path

SIZE = 32  # bytes
NAME = "signing.key"


def signing_key(data: Path) -> bytes:
    """The secret of the server that keeps its things in ``data``: made at the first call, the same ever after.

    It is published whole by a link, so that a server killed in between leaves none, and two that start at once agree.
    """
    path = data / NAME
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = data / f"{NAME}.{secrets.token_hex(8)}"
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SIZE))
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
        finally:
            made.unlink()
    return path.read_bytes()
