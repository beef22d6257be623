"""What routes are given of a request: services, who asks, and its body within limits."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.services import Services
from moonpool.errors import InvalidInput, TooLarge

MAX_BODY = 32 * 1024 * 1024  # bytes of JSON; files come as multipart, without a limit

Model = TypeVar("Model", bound=BaseModel)
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
    return validate(await read_body(request), model)


def validate(raw: bytes, model: type[Model]) -> Model:
    """InvalidInput names what is wrong and leaves out values, which may be secrets."""
    try:
        parsed = model.model_validate_json(raw)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise InvalidInput("; ".join(problems)) from None
    if b"\\u0000" in raw and holds_nul(json.loads(raw)):
        raise InvalidInput("Text must not contain NUL characters")
    return parsed


def holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(holds_nul(part) for part in value)


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge(f"The request body is larger than {MAX_BODY // 1024 // 1024} MiB")
    return bytes(body)


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
