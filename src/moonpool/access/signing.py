"""The server's own secret, with which it signs what it hands to clients and takes back."""

import secrets
from pathlib import Path

from moonpool.vault import kept

SIZE = 32  # bytes
NAME = "signing.key"


def signing_key(data: Path) -> bytes:
    """The secret of the server that keeps its things in ``data``: made at the first call, the same ever after."""
    return kept(data / NAME, secrets.token_bytes(SIZE))
