"""Links to files: who has one is let in for that one file and method, and for nothing else."""

import base64
import hashlib
import hmac

from starlette.requests import HTTPConnection

from moonpool.access.model import Principal
from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.services import Services
from moonpool.errors import SandboxNotFound, Unauthorized
from moonpool.previews.links import acting_for

SIGNED = frozenset({("GET", "/files/download"), ("POST", "/files/upload-v2")})
LONGEST = 20  # digits of an expiry


async def asker(connection: HTTPConnection, services: Services, method: str, path: str) -> Principal:
    """Who makes this request, by a key or by the link itself; Unauthorized, KeyExpired."""
    signature = connection.query_params.get("signature")
    headers = connection.headers
    if not signature or "authorization" in headers or "x-api-key" in headers or (method, path) not in SIGNED:
        return await principal(connection, services.access)
    sandbox = services.sandboxes.peek(connection.path_params["sandbox_id"])
    key = None if sandbox is None else await services.previews.links.known_file_key(sandbox.id)
    if sandbox is None or key is None:
        raise Unauthorized
    query = connection.query_params
    check(key, method, query.get("path", ""), query.get("expires", ""), signature, services.clock.now().timestamp())
    if sandbox.doomed:
        raise SandboxNotFound
    return acting_for(sandbox)


def check(key: str, method: str, path: str, expires: str, signature: str, now: float) -> None:
    """Unauthorized for a signature that is none, or whose time is over; ``expires`` 0 is never."""
    expected = signed(key, method, path, expires)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise Unauthorized
    if not (expires.isascii() and expires.isdigit() and len(expires) <= LONGEST):
        raise Unauthorized
    if 0 < int(expires) <= now:
        raise Unauthorized("This link has expired")


def signed(key: str, method: str, path: str, expires: str) -> str:
    said = f"v1:files:{method}:{path}:{expires}".encode("utf-8", "surrogatepass")
    digest = hmac.new(key.encode(), said, hashlib.sha256).digest()
    return "v1_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
