"""Passwords: argon2id, a few at a time, in threads."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from moonpool.errors import InvalidInput

MIN_LENGTH, MAX_LENGTH = 8, 1024  # characters
AT_ONCE = 2  # each takes 64 MiB of memory and a core for a twentieth of a second


class Passwords:
    """RFC 9106's second recommendation (argon2-cffi's default). ``verify`` takes as long where there is no password."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys = ""
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, valid(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        async with self._turns:
            if not self._nobodys:  # At the first one, whoever asks: it takes as long as everything else here.
                self._nobodys = await asyncio.to_thread(self._hasher.hash, "nobody's")
            right = await asyncio.to_thread(self._matches, kept or self._nobodys, password[: MAX_LENGTH + 1])
        return right and kept is not None

    def outdated(self, kept: str) -> bool:
        """Made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(kept)

    def _matches(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False


def valid(password: str) -> str:
    """InvalidInput for one that is too short, or is no text."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters", field="password")
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise InvalidInput("A password is text", field="password")
    return password
