"""uvicorn's WebSocket protocol with what it lacks: compression that knows its price, an end for who does not read, and
word of what has been read."""

import asyncio
import itertools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from starlette.types import Scope
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.typing import ExtensionParameter

# What a client's message may have at most, once it is unpacked: a few bytes can be the promise of any number of zeros.
USUAL_MESSAGE_BYTES = (16 << 20) + (64 << 10)  # 16 MiB, and what stands around it
MAX_MESSAGE_BYTES = 256 << 20  # where an application asks for it
MESSAGES = "moonpool.messages"  # among the extensions of a connection's scope
WORTH_COMPRESSING = 64 * 1024  # bytes; what is larger would hold up every other client while it is compressed
MARK_BYTES = 8  # of a ping that asks what has been read; those that ask whether anybody is there have 4
MOST_MARKS = 64  # under way at a time to one client, which may never answer any
LINGER = 10.0  # seconds for a client to read what is still to be sent, when its conversation is over


def take_messages_of(scope: Scope, size: int) -> None:
    """From now on this WebSocket's client may send messages of up to ``size`` bytes; larger ones end it with 1009."""
    limit = (scope.get("extensions") or {}).get(MESSAGES)
    if limit is not None:
        limit["set"](size)


def once_read(scope: Scope, then: Callable[[], None]) -> None:
    """Call ``then`` once this WebSocket's client has read everything that was sent to it before; never where it goes
    before that, or leaves too many such questions open. At once where the server cannot ask."""
    messages = (scope.get("extensions") or {}).get(MESSAGES)
    if messages is None:
        then()
    else:
        messages["once_read"](then)


class CheapDeflate(PerMessageDeflate):
    """Compresses small messages, quickly; large ones go as they are, which the extension leaves to each side."""

    def encode(self, frame: Frame) -> Frame:
        return frame if len(frame.data) > WORTH_COMPRESSING else super().encode(frame)


class CheapDeflateFactory(ServerPerMessageDeflateFactory):
    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, agreed = super().process_request_params(params, accepted_extensions)
        return answer, CheapDeflate(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            agreed.compress_settings,
        )


class PatientWebSocketProtocol(WebSocketsSansIOProtocol):
    """Takes messages of ``USUAL_MESSAGE_BYTES``, or as its application says.

    Ends a connection ``LINGER`` seconds after its application did, whether the client has read everything or not:
    else one that never reads would keep what it was sent in this server's memory for ever.

    A client is not taken for dead while it is seen to send or to read, though the answer to a ping has to wait behind
    a large message, nor while it is this side that does not read.
    """

    _linger: asyncio.TimerHandle | None = None
    _unsent = 0  # bytes, when the ping was sent or looked at last
    _received = False  # anything since then

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._marks: dict[bytes, Callable[[], None]] = {}  # pings that are under way -> who waits, in order
        self._numbers = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.conn.available_extensions:
            settings = {"memLevel": 5, "level": zlib.Z_BEST_SPEED}
            deflate = CheapDeflateFactory(
                server_max_window_bits=12, client_max_window_bits=12, compress_settings=settings
            )
            self.conn.available_extensions = [deflate]

    def handle_connect(self, event: Request) -> None:
        self._limit_messages(USUAL_MESSAGE_BYTES)
        super().handle_connect(event)
        if not self.close_sent and (extensions := self.scope["extensions"]) is not None:
            extensions[MESSAGES] = {"set": self._limit_messages, "once_read": self._once_read}

    def _limit_messages(self, size: int) -> None:
        self.conn.max_message_size = size

    def _once_read(self, then: Callable[[], None]) -> None:
        """A pong comes from who has read what was sent before its ping."""
        if self.close_sent or self.transport.is_closing():
            return
        if len(self._marks) >= MOST_MARKS:
            del self._marks[next(iter(self._marks))]
        mark = next(self._numbers).to_bytes(MARK_BYTES)
        self._marks[mark] = then
        self.conn.send_ping(mark)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def handle_pong(self, event: Frame) -> None:
        mark = bytes(event.data)
        if mark not in self._marks:
            super().handle_pong(event)
            return
        # A client may answer the last of several pings only (RFC 6455, 5.5.3), be it another's.
        if self.pending_ping_payload is not None:
            super().handle_pong(Frame(Opcode.PONG, self.pending_ping_payload))
        for earlier in [sent for sent in self._marks if sent <= mark]:
            self._marks.pop(earlier)()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.close_sent and self.initial_response is not None:
            # Refused, with an answer: uvicorn takes that for a fault of the application's and logs an error each time.
            self.handshake_complete = True

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._linger = self.loop.call_later(LINGER, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._marks.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received = True
        super().data_received(data)

    def send_keepalive_ping(self) -> None:
        self._received = False
        super().send_keepalive_ping()
        self._unsent = self.transport.get_write_buffer_size()

    def keepalive_timeout(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if not (self._received or self.read_paused or unsent < self._unsent):
            super().keepalive_timeout()
            return
        self._received, self._unsent = False, unsent
        assert self.ping_timeout is not None
        self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
