"""Every request: an id, a line in the log, a count; and an answer when its application breaks."""

import re
import time
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.dialects.common.routing import answer_json
from moonpool.ids import random_word

REQUEST_ID = b"x-request-id"
GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
ID_LENGTH = 20  # characters
UNEXPECTED = b'{"error":{"code":"internal_error","message":"Internal server error"}}'

log = structlog.get_logger(__name__)


class Observed:
    """The outermost application; ``apis`` are the first segments of the paths that are served.

    A client's own ``X-Request-Id`` is kept; the answer carries it or a new one. Only
    the path is logged: queries and headers hold keys.
    """

    def __init__(self, application: ASGIApp, registry: CollectorRegistry, apis: Iterable[str]) -> None:
        self._application = application
        self._apis = frozenset(apis)
        self._requests = Counter("moonpool_requests", "Requests answered", ["api", "status"], registry=registry)
        self._bytes = Counter(
            "moonpool_transferred_bytes", "Bodies and messages of clients", ["api", "direction"], registry=registry
        )
        self._seconds = Histogram("moonpool_request_seconds", "Time to answer a request", ["api"], registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_of(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        begun = time.perf_counter()
        status = 0
        api = self._api_of(scope)
        received, sent = (self._bytes.labels(api, direction).inc for direction in ("in", "out"))

        async def taken() -> Message:
            message = await receive()
            if size := size_of(message):
                received(size)
            return message

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, request_id.encode())]
            elif message["type"] == "websocket.accept":
                status = HTTPStatus.SWITCHING_PROTOCOLS
            if size := size_of(message):
                sent(size)
            await send(message)

        try:
            await self._application(scope, taken, observed)
        except Exception:  # The outermost edge: whatever broke, the client gets an answer.
            log.exception("request_failed", path=scope["path"])
            if scope["type"] == "http" and not status:
                await answer_json(observed, 500, UNEXPECTED)
        finally:
            self._record(scope, api, status, time.perf_counter() - begun)

    def _api_of(self, scope: Scope) -> str:
        first: str = scope["path"].lstrip("/").partition("/")[0]
        return first if first in self._apis else "unknown"  # Else any client could add to the figures without end.

    def _record(self, scope: Scope, api: str, status: int, seconds: float) -> None:
        self._requests.labels(api, str(int(status))).inc()
        if scope["type"] == "http":
            self._seconds.labels(api).observe(seconds)
        milliseconds = round(seconds * 1000, 1)
        log.debug(
            "request", method=scope.get("method"), path=scope["path"], status=int(status), milliseconds=milliseconds
        )


def size_of(message: Message) -> int:
    """Bytes of a body's part or of a socket's message."""
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")


def request_id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID and GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return random_word(ID_LENGTH)
