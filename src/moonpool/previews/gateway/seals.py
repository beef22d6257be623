"""The gateway's own cookie: says, under the server's seal, by what a browser was let in to which sandbox.

What let it in is looked at again at each request, so a revoked token ends its cookies with it.
"""

import hashlib
import hmac
from dataclasses import dataclass

LIFETIME = 3600  # seconds
OWN_TOKEN = "own"  # noqa: S105 - the sandbox's own token, which is new at every start
PURPOSE = b"moonpool preview cookie\0"


@dataclass(frozen=True)
class Seal:
    """``by``: ``OWN_TOKEN`` or the id of a preview token; ``expires_at`` in seconds since 1970."""

    sandbox_id: str
    by: str
    expires_at: int


def sealed(seal: Seal, key: bytes, own_token: str) -> str:
    return f"{seal.by}.{seal.expires_at}.{signature(seal, key, own_token)}"


def unsealed(text: str, sandbox_id: str, key: bytes, own_token: str, now: float) -> Seal | None:
    """None for what was not sealed here, for another sandbox, or too long ago."""
    by, _, rest = text.partition(".")
    expires, _, given = rest.partition(".")
    if not expires.isascii() or not expires.isdigit() or len(expires) > 15 or int(expires) <= now:
        return None
    seal = Seal(sandbox_id, by, int(expires))
    expected = signature(seal, key, own_token)
    return seal if hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass")) else None


def signature(seal: Seal, key: bytes, own_token: str) -> str:
    """The sandbox's own token is part of what is signed where it is what let the browser in."""
    secret = own_token if seal.by == OWN_TOKEN else ""
    said = "\0".join((seal.sandbox_id, seal.by, str(seal.expires_at), secret)).encode("utf-8", "surrogatepass")
    return hmac.new(key, PURPOSE + said, hashlib.sha256).hexdigest()
