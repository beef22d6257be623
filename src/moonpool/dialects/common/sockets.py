"""uvicorn's WebSocket protocol with what it lacks: compression that knows its price, an end for who does not read."""

import asyncio
import zlib
from collections.abc import Sequence

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
WORTH_COMPRESSING = 64 * 1024  # bytes; what is larger would hold up every other client while it is compressed
LINGER = 10.0  # seconds for a client to read what is still to be sent, when its conversation is over


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
    """Ends a connection ``LINGER`` seconds after its application did, whether the client has read everything or not:
    else one that never reads would keep what it was sent in this server's memory for ever.

    A client is not taken for dead while it is seen to send or to read, though the answer to a ping has to wait behind
    a large message, nor while it is this side that does not read.
    """

    _linger: asyncio.TimerHandle | None = None
    _unsent = 0  # bytes, when the ping was sent or looked at last
    _received = False  # anything since then

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.conn.available_extensions:
            settings = {"memLevel": 5, "level": zlib.Z_BEST_SPEED}
            deflate = CheapDeflateFactory(
                server_max_window_bits=12, client_max_window_bits=12, compress_settings=settings
            )
            self.conn.available_extensions = [deflate]

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._linger = self.loop.call_later(LINGER, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
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
