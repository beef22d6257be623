"""uvicorn's HTTP protocol with the limits it lacks: how large a request's headers may grow, how long they may take."""

import asyncio
import socket
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 64 * 1024 * 1024
HEADERS_TIMEOUT = 30.0  # seconds from the connection, or from the answer before, until a request's headers are whole
QUIET_BEFORE_PROBES, BETWEEN_PROBES, UNANSWERED_PROBES = 60, 15, 4  # seconds, seconds, number: then a peer is dead
LINGER = 5.0  # seconds for a refused client to finish sending, so that it reads why before the connection ends

BODY = b'{"error":{"code":"headers_too_large","message":"The request headers are larger than 65536 bytes"}}'
ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\n"
    b"connection: close\r\n"
    b"content-length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses headers and trailers above ``MAX_HEADER_BYTES`` with 431.

    The parser collects an unfinished line without bound. So what is fed to it is counted for as long as it gives
    nothing back, and what it gives back is counted as well.

    A connection that sends no whole headers in time is closed, so that strangers cannot hold all of the descriptors,
    and one whose other side is gone without a word ends, with whatever was done for it.
    """

    headers_timeout = HEADERS_TIMEOUT

    _parsed = 0  # bytes of this request's line, headers and trailers
    _unparsed = 0  # bytes fed since the parser last completed anything
    _progress = False
    _refused = False
    _discarded = 0
    _linger: asyncio.TimerHandle | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        _notice_dead_peers(transport)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discard(data)
            return
        self._progress = False
        super().data_received(data)
        self._unparsed = 0 if self._progress else self._unparsed + len(data)
        if self._unparsed > MAX_HEADER_BYTES and not self._refused:
            self._refuse()

    def on_message_begin(self) -> None:
        self._parsed = 0
        self._progress = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._progress = True
        self._clear_deadline()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._set_deadline()  # Also for the rest of a body that nobody wanted.

    def on_body(self, body: bytes) -> None:
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Also reached when ``_count`` raised: the parser turns whatever a callback raises into its own error."""
        if self._parsed > MAX_HEADER_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _should_upgrade(self) -> bool:
        """To a WebSocket with GET alone: what comes with another method would wait for an answer for ever."""
        return self.parser.get_method() == b"GET" and super()._should_upgrade()

    def eof_received(self) -> None:
        if self._refused:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(self.headers_timeout, self.transport.close)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > MAX_HEADER_BYTES:
            raise ValueError("headers too large")

    def _refuse(self) -> None:
        self._refused = True
        self.headers = []
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # Trailers without end, while the answer to the request is under way.
            return
        self.transport.write(ANSWER)
        self._linger = self.loop.call_later(LINGER, self.transport.close)

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED_BYTES:
            self.transport.close()


def _notice_dead_peers(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, QUIET_BEFORE_PROBES),
        (socket.TCP_KEEPINTVL, BETWEEN_PROBES),
        (socket.TCP_KEEPCNT, UNANSWERED_PROBES),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
