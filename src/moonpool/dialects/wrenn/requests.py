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
from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.bodies import Model, read_body, validated
from moonpool.dialects.common.services import Services

MAX_BODY = 32 * 1024 * 1024  # bytes of JSON; files come as multipart, without a limit

Result = TypeVar("Result")


def services_of(connection: HTTPConnection) -> Services:
    services = connection.app.state.services
    assert isinstance(services, Services)
    return services


async def provided(connection: HTTPConnection) -> Services:
    """A coroutine, since FastAPI sends dependencies that are none to a thread."""
    return services_of(connection)


Provided = Annotated[Services, Depends(provided)]


async def caller(connection: HTTPConnection, services: Provided) -> Principal:
    return await principal(connection, services.access)


Caller = Annotated[Principal, Depends(caller)]


async def parse(request: Request, model: type[Model]) -> Model:
    """The JSON body as ``model``, whatever its content type says; InvalidInput or TooLarge."""
    return validated(await read_body(request, MAX_BODY), model)


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
