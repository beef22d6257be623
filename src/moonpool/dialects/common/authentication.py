"""From a request's headers to who asks; what a failure looks like is each dialect's own."""

from starlette.requests import HTTPConnection
from starlette.types import Scope

from moonpool.access.model import Principal
from moonpool.access.service import AccessService
from moonpool.errors import Unauthorized

BEARER = "bearer "
ASKER = "moonpool.asker"  # in the scope of a request: the Principal, once it is known


def token_of(connection: HTTPConnection) -> str:
    """The key of ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; raises Unauthorized when neither is there."""
    authorization = connection.headers.get("authorization", "")
    if authorization[: len(BEARER)].lower() == BEARER and (token := authorization[len(BEARER) :].strip()):
        return token
    if token := connection.headers.get("x-api-key", "").strip():
        return token
    raise Unauthorized("No API key was sent")


def has_key(connection: HTTPConnection) -> bool:
    """Whether one was sent, good or not."""
    return bool(connection.headers.get("authorization") or connection.headers.get("x-api-key"))


async def principal(connection: HTTPConnection, access: AccessService) -> Principal:
    """Who makes this HTTP or WebSocket request; raises Unauthorized, KeyExpired, or RateLimited."""
    return admitted(connection, await access.authenticate(token_of(connection)), access)


def admitted(connection: HTTPConnection, who: Principal, access: AccessService) -> Principal:
    """``who`` is known to be; RateLimited where they ask too much."""
    connection.scope[ASKER] = who
    access.throttles.admit(who)
    return who


def asker_of(scope: Scope) -> Principal | None:
    """Who made the request of this scope, where that is known by now."""
    who: Principal | None = scope.get(ASKER)
    return who
