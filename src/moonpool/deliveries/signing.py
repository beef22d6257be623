"""Standard Webhooks: the headers that a receiver trusts a message by, under their old (Svix) names too."""

import base64
import binascii
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

from moonpool.errors import InvalidInput

PREFIX = "whsec_"
SIZE = 32  # bytes
SIZES = range(16, 257)  # bytes of a secret that a user chose


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SIZE)).decode()


def check_secret(secret: str) -> str:
    """A secret as receivers' libraries take it; InvalidInput."""
    try:
        size = len(base64.b64decode(secret.removeprefix(PREFIX) + "==", validate=False)) if secret.isascii() else 0
    except (binascii.Error, ValueError):
        size = 0
    if not secret.startswith(PREFIX) or size not in SIZES:
        hint = "As 'whsec_' and the Base64 of 16 to 256 random bytes; without one, it is made."
        raise InvalidInput("secret: not one of a webhook", field="secret", hint=hint)
    return secret


def signed(message_id: str, at: datetime, body: str, signers: Sequence[Webhook]) -> dict[str, str]:
    """Signed with each: while a secret changes, the old one and the new one hold."""
    values = {
        "id": message_id,
        "timestamp": str(int(at.timestamp())),
        "signature": " ".join(signer.sign(message_id, at, body) for signer in signers),
    }
    return {f"{family}-{name}": value for family in ("webhook", "svix") for name, value in values.items()}
