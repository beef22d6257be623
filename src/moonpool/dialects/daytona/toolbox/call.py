"""One call of a toolbox operation: who asks, of which sandbox, with what."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.websockets import WebSocket

from moonpool.access.model import Principal
from moonpool.desktop.service import DesktopService
from moonpool.dialects.common.bodies import read_body
from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona.requests import validated
from moonpool.dialects.daytona.toolbox.errors import InvalidBody
from moonpool.errors import InvalidInput
from moonpool.files.service import FileService
from moonpool.git.service import GitService
from moonpool.languages.service import LanguageService
from moonpool.processes.code import CodeService
from moonpool.processes.entrypoints import EntrypointService
from moonpool.processes.interpreters import InterpreterService
from moonpool.processes.model import Sandboxes
from moonpool.processes.service import ProcessService
from moonpool.processes.sessions import ShellSessions
from moonpool.processes.terminals import TerminalService

INVALID_BODY = "invalid request body: "  # the vendor's own words
BODY_LIMIT = 24 * 1024 * 1024  # bytes of JSON: a command of 10 MB fits, however it is escaped

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class Tools:
    """The services behind the toolbox."""

    services: Services
    sandboxes: Sandboxes
    processes: ProcessService
    code: CodeService
    sessions: ShellSessions
    entrypoints: EntrypointService
    terminals: TerminalService
    interpreters: InterpreterService
    files: FileService
    git: GitService
    languages: LanguageService
    desktop: DesktopService

    @classmethod
    def of(cls, services: Services) -> "Tools":
        sandboxes = services.sandboxes
        processes = ProcessService(sandboxes)
        return cls(
            services=services,
            sandboxes=sandboxes,
            processes=processes,
            code=CodeService(processes),
            sessions=ShellSessions(sandboxes),
            entrypoints=EntrypointService(sandboxes),
            terminals=TerminalService(sandboxes),
            interpreters=InterpreterService(sandboxes),
            files=FileService(sandboxes),
            git=GitService(processes),
            desktop=DesktopService(sandboxes),
            languages=LanguageService(sandboxes, services.server.language_servers),
        )


@dataclass(frozen=True)
class Call:
    """``parameters`` are those of the path. ``connection`` is a Request or, for websocket operations, a WebSocket."""

    tools: Tools
    principal: Principal
    sandbox: str
    parameters: dict[str, str]
    connection: HTTPConnection
    receive: Receive
    send: Send

    @property
    def request(self) -> Request:
        assert isinstance(self.connection, Request)
        return self.connection

    @property
    def socket(self) -> WebSocket:
        assert isinstance(self.connection, WebSocket)
        return self.connection

    def query(self, name: str) -> str:
        """A query parameter that must be there."""
        value = self.connection.query_params.get(name)
        if not value:
            raise InvalidInput(f"{name} is required", field=name)
        return value

    def flag(self, name: str) -> bool:
        return self.connection.query_params.get(name, "").lower() in ("1", "true", "t")

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        text = self.connection.query_params.get(name)
        if text is None or text == "":
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and low <= int(text) <= high):
            raise InvalidInput(f"{name} must be a whole number from {low} to {high}", field=name)
        return int(text)

    async def body(self, model: type[Model]) -> Model:
        """The JSON body; raises InvalidBody, TooLarge."""
        return validated(await read_body(self.request, BODY_LIMIT), model, InvalidBody, INVALID_BODY)

    async def optional_body(self, model: type[Model]) -> Model:
        """As ``body``; no body at all is an empty object."""
        return validated(await read_body(self.request, BODY_LIMIT) or b"{}", model, InvalidBody, INVALID_BODY)

    async def unless_gone(self, work: Coroutine[Any, Any, Result]) -> Result:
        """``work``'s result; when the client hangs up meanwhile it is cancelled and ClientGone raised."""
        task = asyncio.ensure_future(work)
        watcher = asyncio.ensure_future(disconnected(self.receive))
        try:
            await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ClientGone
        finally:
            task.cancel()
            watcher.cancel()
            await asyncio.gather(task, watcher, return_exceptions=True)


def while_listened(handler: Callable[[Call], Coroutine[Any, Any, Result]]) -> Callable[[Call], Awaitable[Result]]:
    """For an operation that sends without end and reads no body: it stops when the client hangs up. Without this it
    would go on, since what is sent to nobody is thrown away without a word."""

    async def guarded(call: Call) -> Result:
        return await call.unless_gone(handler(call))

    return guarded


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def json_response(document: object, status: int = 200) -> Response:
    """Lean: no key sorting, no rendering twice; text that is no valid Unicode becomes question marks."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return Response(body, status, media_type="application/json")


def text_of(data: bytes) -> str:
    return data.decode(errors="replace")
