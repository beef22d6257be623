"""What lets a client in: signed, expiring texts that need no row in any table.

The REST side mints them when a sandbox starts or a session is made; the WebSocket's upgrade and download addresses
verify them. A signature also names what the token is for, so that one kind never passes for another.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import Forbidden, Unauthorized

LIFETIME = 24 * 3600.0  # seconds in which a connection can be made; one that stands is not ended by this
DOWNLOAD_LIFETIME = 300.0  # seconds
AGENT, DOWNLOAD = "pitcher", "pitcher-download"
LONGEST = 16 * 1024  # characters; what is longer is none of ours

Permission = Literal["read", "write"]


@dataclass(frozen=True)
class Grant:
    """Who a client is: one team's, in one sandbox, as ``user`` of its image with that ``home``. ``workspace`` is where
    relative paths begin. ``session_id`` None: the sandbox's own user, without a session. ``key_id`` is the API key that
    asked for the token, which lets nobody in once that key has ended."""

    sandbox_id: str
    team_id: str
    user: str
    home: str
    workspace: str
    permission: Permission
    session_id: str | None = None
    key_id: str | None = None

    @property
    def writes(self) -> bool:
        return self.permission == "write"

    @property
    def principal(self) -> Principal:
        """Reads need an open session as well, so what a reader may not do is refused method by method."""
        scopes = frozenset({Scope.SANDBOXES_READ, Scope.SANDBOXES_WRITE})
        return Principal(self.team_id, f"session:{self.session_id or self.user}", self.key_id, scopes)

    async def confirmed(self, access: AccessService) -> "Grant":
        """The grant as far as its key still allows it. Unauthorized, KeyExpired; Forbidden where it may not read."""
        if self.key_id is None:
            return self
        return self.under(await access.still(self.team_id, self.key_id))

    def under(self, principal: Principal) -> "Grant":
        """As far as the key's principal allows it; Forbidden where that may not read."""
        if not principal.allows(Scope.SANDBOXES_READ):
            raise Forbidden(f"This key lacks the scope '{Scope.SANDBOXES_READ}'")
        return self if principal.allows(Scope.SANDBOXES_WRITE) else replace(self, permission="read")


@dataclass(frozen=True)
class Download:
    """One file or folder of a sandbox, readable for a short time by whoever has the address."""

    grant: Grant
    path: str
    excludes: tuple[str, ...]


class Tokens:
    """``key`` is ``ServerInfo.signing_key``; ``clock`` decides what has expired."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def mint(self, grant: Grant) -> str:
        """A token for the agent's address, good for ``LIFETIME`` seconds."""
        return self._seal(AGENT, LIFETIME, asdict(grant))

    def verify(self, token: str, sandbox_id: str) -> Grant:
        """Raises Unauthorized for one that is not ours, not for this sandbox, or expired."""
        grant = Grant(**self._open(AGENT, token))
        if grant.sandbox_id != sandbox_id:
            raise Unauthorized("This token is for another sandbox")
        return grant

    def mint_download(self, download: Download) -> str:
        return self._seal(DOWNLOAD, DOWNLOAD_LIFETIME, asdict(download))

    def verify_download(self, token: str, sandbox_id: str) -> Download:
        body = self._open(DOWNLOAD, token)
        found = Download(Grant(**body["grant"]), body["path"], tuple(body["excludes"]))
        if found.grant.sandbox_id != sandbox_id:
            raise Unauthorized("This address is for another sandbox")
        return found

    def _seal(self, purpose: str, lifetime: float, body: dict[str, Any]) -> str:
        document = {"until": self._clock.now().timestamp() + lifetime, "body": body}
        payload = encoded(json.dumps(document, separators=(",", ":")).encode())
        return f"{payload}.{encoded(self._signature(purpose, payload))}"

    def _open(self, purpose: str, token: str) -> dict[str, Any]:
        payload, _, signature = token[:LONGEST].partition(".")
        if not hmac.compare_digest(decoded(signature), self._signature(purpose, payload)):
            raise Unauthorized("Invalid token")
        document: dict[str, Any] = json.loads(decoded(payload))
        if document["until"] <= self._clock.now().timestamp():
            raise Unauthorized("This token has expired")
        body: dict[str, Any] = document["body"]
        return body

    def _signature(self, purpose: str, payload: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}:{payload}".encode(errors="replace"), hashlib.sha256)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Empty for what is not the encoding of anything."""
    try:
        return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return b""
