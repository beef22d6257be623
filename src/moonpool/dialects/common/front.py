"""The first thing that a client's connection meets: it tells requests for previews from requests for the APIs.

Both can come by one connection, since a proxy in front may share its own. What is for a preview never becomes an ASGI
message: its bytes go on as they are.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from moonpool.dialects.common.protocol import BoundedHttpProtocol
from moonpool.previews.gateway.exchange import Exchange
from moonpool.previews.gateway.gateway import PreviewGateway
from moonpool.previews.gateway.names import Target
from moonpool.previews.gateway.request import Head

FindGateway = Callable[[], PreviewGateway | None]


class FrontProtocol(BoundedHttpProtocol):
    """``gateway`` answers with None while there is none, before the start and after the end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        gateway: FindGateway = lambda: None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gateway = gateway
        self._receiving: Exchange | None = None  # whose body arrives
        self._active: Exchange | None = None  # whose turn it is to be answered
        self._host = b""
        self._hosts = 0

    # -- the connection ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._active is not None and self._active.head.upgrade:
            self._active.client_sent(data)
            return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        for exchange in {self._active, self._receiving, *(cycle for cycle, _ in self.pipeline)}:
            if isinstance(exchange, Exchange) and not exchange.response_complete:
                exchange.client_lost()
        if isinstance(self.cycle, Exchange):
            self.cycle = None  # type: ignore[assignment]
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._active is not None:
            self._active.client_writable(False)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._active is not None:
            self._active.client_writable(True)

    def shutdown(self) -> None:
        """A changed protocol has no end of its own to wait for."""
        if self._active is not None and self._active.tunnel:
            self.transport.close()
        else:
            super().shutdown()

    # -- requests ------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._host, self._hosts, self._receiving = b"", 0, None

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self.headers[-1][0] == b"host":
            self._host, self._hosts = self._host or value, self._hosts + 1

    def on_headers_complete(self) -> None:
        gateway = self._gateway()
        target = None if gateway is None else gateway.target(self._host, self.url)
        if gateway is None or target is None:
            if self._hosts > 1:  # A proxy in front may have gone by another one. The gateway says so in its own words.
                raise ValueError("more than one Host header")
            super().on_headers_complete()
            return
        self._progress = True
        self._clear_deadline()
        self._meet(gateway, target)

    def on_body(self, body: bytes) -> None:
        if self._receiving is None:
            super().on_body(body)
        else:
            self._progress = True
            self._receiving.client_sent(body)

    def on_message_complete(self) -> None:
        if self._receiving is None:
            super().on_message_complete()
        else:
            self._progress = True
            self._receiving.client_finished()

    def handle_websocket_upgrade(self) -> None:
        if self._receiving is None:
            super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        if self._receiving is None:
            super()._unsupported_upgrade_warning()

    def _meet(self, gateway: PreviewGateway, target: Target) -> None:
        parser, client = self.parser, self.client
        head = Head(
            method=parser.get_method(),
            url=self.url,
            version=parser.get_http_version(),
            headers=self.headers,
            secure=self.scheme == "https",
            client=client[0] if client else "",
            upgrade=bool(parser.should_upgrade()),
        )
        exchange = gateway.exchange(self, head, target, keep_alive=parser.should_keep_alive())
        before, self.cycle, self._receiving = self.cycle, exchange, exchange  # type: ignore[assignment]
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Exchange):
            self._active = cycle
            cycle.begin()
        else:
            super()._start_asgi_task(cycle, app)

    # -- for exchanges -------------------------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        return not self.flow.write_paused

    def hold_reading(self) -> None:
        self.flow.pause_reading()

    def go_on_reading(self) -> None:
        self.flow.resume_reading()

    def exchange_over(self, exchange: Exchange) -> None:
        if self._active is exchange:
            self._active = None
        if not exchange.keep_alive:
            self.transport.close()
        if not self.transport.is_closing():
            self.on_response_complete()


def front(gateway: FindGateway) -> type[FrontProtocol]:
    """The protocol of one server, for uvicorn to make an instance of for each connection."""

    class Front(FrontProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop, gateway=gateway)

    return Front
