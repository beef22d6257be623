"""Passwords that must be had back: encrypted with the server's own key, so that a copy of the database has none."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from moonpool.errors import EngineError

PURPOSE = b"moonpool registry passwords"


class Secrets:
    def __init__(self, server_key: bytes) -> None:
        derived = hashlib.blake2b(PURPOSE, key=hashlib.sha256(server_key).digest(), digest_size=32).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def encrypt(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, kept: str) -> str:
        """EngineError where the server's key is another one than when it was kept."""
        try:
            return self._fernet.decrypt(kept.encode()).decode()
        except InvalidToken as error:
            raise EngineError("A kept password cannot be read: the server's key has changed") from error
