"""Secrets that must be had back, encrypted at rest: a copy of the database alone has none of them.

The key is the operator's (``MOONPOOL_SECRET_KEY``) or made once, in ``DATA/secret-key``. Either may hold several, one a
line: the first one encrypts, all of them decrypt. So a key is changed by putting a new one before the old.
"""

import base64
import contextlib
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from moonpool.errors import EngineError, InvalidInput

NAME = "secret-key"
SIZE = 32  # bytes
MIN_LENGTH = 16  # characters of a key that an operator made


class Vault:
    """Makes a box for each purpose, with a key of its own: what was sealed for one opens in no other."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def open(cls, data: Path, given: str | None = None) -> "Vault":
        """The vault of the server that keeps its things in ``data``. InvalidInput for keys that are too short."""
        text = given if given is not None else kept(data / NAME, base64.b64encode(secrets.token_bytes(SIZE))).decode()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or any(len(line) < MIN_LENGTH for line in lines):
            message = f"MOONPOOL_SECRET_KEY needs at least {MIN_LENGTH} characters"
            raise InvalidInput(message, field="MOONPOOL_SECRET_KEY")
        return cls([line.encode() for line in lines])

    def box(self, purpose: str, *, older: Sequence[bytes] = ()) -> "Box":
        """``older``: further derived keys (32 bytes) that may open what an earlier version sealed."""
        return Box([derived(key, purpose.encode()) for key in self._keys] + list(older))


class Box:
    """Text in, text out: authenticated encryption (Fernet)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    def seal(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """EngineError where the key is another one than when it was sealed."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise EngineError("A kept secret cannot be read: the server's secret key has changed") from error


def derived(key: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(purpose, key=hashlib.sha256(key).digest(), digest_size=32).digest()


def kept(path: Path, made: bytes) -> bytes:
    """What the file at ``path`` holds; ``made`` where there was none, from now on.

    It is published whole by a link, so that a server killed in between leaves none, and two that start at once agree.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(made)
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(beside, path)
        finally:
            beside.unlink()
    return path.read_bytes()
