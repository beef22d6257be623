"""What an operation is given of a request, and how it answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from moonpool.access.model import Principal
from moonpool.dialects.common.bodies import Model, read_body, validated
from moonpool.dialects.common.services import Services
from moonpool.errors import InvalidInput
from moonpool.identities.model import Guest

MAX_BODY = 128 * 1024 * 1024  # bytes; files come as base64 inside of JSON
MAX_TEXT = 4096  # characters of a parameter of the path
LINUX_USER = "x-freestyle-vm-linux-user-id"
TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False, "": False}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """One request, its sender known: ``guest`` where it is an identity."""

    operation: str
    request: Request
    services: Services
    principal: Principal
    guest: Guest | None = None

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    @property
    def vm_id(self) -> str:
        """In the path, or in the query where the path has none."""
        path = self.request.path_params
        return str(path.get("vm_id") or path.get("id") or self.request.query_params.get("vmId", ""))

    @property
    def linux_user(self) -> str | None:
        """Who asks to act as that user inside (``vm.user`` of the SDKs)."""
        return self.request.headers.get(LINUX_USER) or None

    def flag(self, name: str) -> bool:
        value = self.request.query_params.get(name, "").lower()
        if value not in TRUTHS:
            raise InvalidInput(f"{name}: must be true or false", field=name)
        return TRUTHS[value]

    def number(self, name: str) -> int | None:
        """A whole number that is not negative; None where it is not given."""
        value = self.request.query_params.get(name)
        if not value:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 12):
            raise InvalidInput(f"{name}: must be a whole number", field=name)
        return int(value)

    async def parse(self, model: type[Model], *, nul: bool = False) -> Model:
        """The JSON body as ``model``, whatever its content type says; no body is an empty one. ``nul``: NUL characters
        are allowed, as in a file."""
        return validated(await read_body(self.request, MAX_BODY) or b"{}", model, nul=nul)

    async def while_connected(self, work: Awaitable[Result]) -> Result:
        """What ``work`` gives; it is cancelled when the client goes away (ClientDisconnect). A body is passed over."""
        running = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(departure(self.request))
        try:
            await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise ClientDisconnect
            return running.result()
        finally:
            for task in (running, leaving):
                task.cancel()
            await asyncio.gather(running, leaving, return_exceptions=True)


async def departure(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


Handler = Callable[[Call], Awaitable[Response]]


def answer(model: BaseModel) -> Response:
    """Fields that are not known are left out."""
    return Response(model.model_dump_json(exclude_none=True), media_type="application/json")


def answer_plain(document: Mapping[str, Any]) -> Response:
    return JSONResponse(document)


class JsonLines(StreamingResponse):
    """A document a line; ``resources`` are released when the last is sent or the client is gone."""

    def __init__(self, documents: AsyncIterator[Mapping[str, Any]], resources: AsyncExitStack) -> None:
        super().__init__(lines(documents), media_type="application/x-ndjson")
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


async def lines(documents: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    async for document in documents:
        yield json.dumps(document).encode() + b"\n"
