"""What opens the registry for a while. Nothing of it is kept: the secret says under the server's key whose it is, of
which key, and until when."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moonpool.errors import Unauthorized

LIFETIME = 3600.0  # seconds
PURPOSE = b"registry token "
MAX_SECRET = 1024  # characters
AGAIN = "Ask for push access again."


@dataclass(frozen=True)
class PushAccess:
    """``project`` is what the names of all images begin with that it opens."""

    username: str
    secret: str = field(repr=False)
    project: str
    expires_at: datetime


@dataclass(frozen=True)
class Claims:
    team_id: str
    key_id: str
    username: str
    expires_at: datetime


def sealed(key: bytes, claims: Claims) -> str:
    """The secret."""
    words = {
        "team": claims.team_id,
        "key": claims.key_id,
        "user": claims.username,
        "until": claims.expires_at.timestamp(),
    }
    text = base64.urlsafe_b64encode(json.dumps(words).encode()).decode().rstrip("=")
    return f"{text}.{seal(key, text)}"


def unsealed(key: bytes, username: str, secret: str, now: datetime) -> Claims:
    """Unauthorized: not of this server, of another name, or past its time."""
    text, _, given = secret[: MAX_SECRET + 1].rpartition(".")
    genuine = hmac.compare_digest(seal(key, text).encode(), given.encode(errors="surrogatepass"))
    if not genuine or len(secret) > MAX_SECRET:
        raise Unauthorized("The user name or the secret is wrong", hint=AGAIN)
    claims = claims_of(text)
    if not hmac.compare_digest(claims.username.encode(), username.encode(errors="surrogatepass")):
        raise Unauthorized("The user name or the secret is wrong", hint=AGAIN)
    if now >= claims.expires_at:
        raise Unauthorized("This access has expired", hint=AGAIN)
    return claims


def claims_of(text: str) -> Claims:
    try:
        words: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:
        raise Unauthorized from error
    until = datetime.fromtimestamp(float(words["until"]), UTC)
    return Claims(str(words["team"]), str(words["key"]), str(words["user"]), until)


def seal(key: bytes, text: str) -> str:
    return hmac.digest(key, PURPOSE + text.encode(errors="surrogatepass"), "sha256").hex()
