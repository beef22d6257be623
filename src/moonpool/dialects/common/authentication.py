"""From a request's headers to who asks; what a failure looks like is each dialect's own."""

from starlette.requests import HTTPConnection

from moonpool.access.model import Principal
from moonpool.access.service import AccessService
from moonpool.errors import Unauthorized

BEARER = "bearer "


def token_of(connection: HTTPConnection) -> str:
    """The key of ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; raises Unauthorized when neither is there."""
    authorization = connection.headers.get("authorization", "")
    if authorization[: len(BEARER)].lower() == BEARER and (token := authorization[len(BEARER) :].strip()):
        return token
    if token := connection.headers.get("x-api-key", "").strip():
        return token
    raise Unauthorized("No API key was sent")


async def principal(connection: HTTPConnection, access: AccessService) -> Principal:
    """Who makes this HTTP or WebSocket request; raises Unauthorized or KeyExpired."""
    return await access.authenticate(token_of(connection))
