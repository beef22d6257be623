"""What routes are given of a request: services, who asks, and its body within limits."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.common.authentication import admitted, has_key, principal
from moonpool.dialects.common.bodies import Model, read_body, validated
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.cookies import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE, same_origin
from moonpool.errors import CsrfRefused, SessionRequired

MAX_BODY = 32 * 1024 * 1024  # bytes of JSON; files come as multipart, without a limit
MAX_STRANGERS_BODY = 16 * 1024  # bytes, of whoever connects: many at once fit into memory
READING = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing

Result = TypeVar("Result")


def services_of(connection: HTTPConnection) -> Services:
    services = connection.app.state.services
    assert isinstance(services, Services)
    return services


async def provided(connection: HTTPConnection) -> Services:
    """A coroutine, since FastAPI sends dependencies that are none to a thread."""
    return services_of(connection)


Provided = Annotated[Services, Depends(provided)]


async def signed_in(connection: HTTPConnection, services: Provided) -> Principal:
    """Who the browser's session is of: SessionRequired, CsrfRefused. A key does not do."""
    token = connection.cookies.get(SESSION_COOKIE, "")
    who = await services.community.sessions.authenticate(token) if token else None
    if who is None:
        raise SessionRequired
    if connection.scope["type"] == "websocket":
        # Browsers send cookies with sockets of any page; which page it is they say themselves.
        if not same_origin(connection, services.server.public_url):
            raise CsrfRefused("This page may not open a socket")
    elif connection.scope["method"] not in READING:
        cookie, sent = connection.cookies.get(CSRF_COOKIE, ""), connection.headers.get(CSRF_HEADER, "")
        services.community.sessions.check_csrf(token, cookie, sent)
    return admitted(connection, who, services.access)


async def caller(connection: HTTPConnection, services: Provided) -> Principal:
    """Whoever has a key, else who is signed in."""
    if not has_key(connection) and SESSION_COOKIE in connection.cookies:
        return await signed_in(connection, services)
    return await principal(connection, services.access)


Caller = Annotated[Principal, Depends(caller)]
SignedInCaller = Annotated[Principal, Depends(signed_in)]


async def administrator(principal: SignedInCaller, services: Provided) -> Principal:
    """Of the whole server; Forbidden."""
    services.access.require_platform_admin(principal)
    return principal


Administrator = Annotated[Principal, Depends(administrator)]


async def parse(request: Request, model: type[Model], limit: int = MAX_BODY) -> Model:
    """The JSON body as ``model``, whatever its content type says; InvalidInput or TooLarge."""
    return validated(await read_body(request, limit), model)


async def parse_strangers(request: Request, model: type[Model]) -> Model:
    """The same, where nobody knows yet who asks."""
    return await parse(request, model, MAX_STRANGERS_BODY)


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """What ``work`` gives; it is cancelled when the client goes away (ClientDisconnect). The body must be read."""
    running = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientDisconnect
        return running.result()
    finally:
        await cancel(running, leaving)


async def cancel(*tasks: "asyncio.Future[Any]") -> None:
    """End tasks and wait until they have cleaned up behind themselves."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def answer(model: BaseModel, status: int = 200) -> Response:
    """Fields that are not known are left out, as the vendor does."""
    return Response(model.model_dump_json(exclude_none=True, by_alias=True), status, media_type="application/json")


def answer_list(models: list[BaseModel]) -> Response:
    items = [model.model_dump(mode="json", exclude_none=True, by_alias=True) for model in models]
    return Response(json.dumps(items), media_type="application/json")
