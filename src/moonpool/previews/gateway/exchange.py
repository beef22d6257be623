"""One request and its answer, or one changed protocol: bytes both ways, each side as fast as the other takes them."""

import asyncio
from typing import Any, Protocol

import structlog

from moonpool.previews.gateway import refusals
from moonpool.previews.gateway.answer import Answer, BadAnswer
from moonpool.previews.gateway.connections import Connection
from moonpool.previews.gateway.names import Target
from moonpool.previews.gateway.refusals import Refusal
from moonpool.previews.gateway.request import Head

MAX_WAITING = 64 * 1024  # bytes of a body that wait for the app to be found
STALL = 120.0  # seconds that a client may read nothing of an answer that waits for it
REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

log = structlog.get_logger(__name__)


class Front(Protocol):
    """The client's connection."""

    transport: Any

    @property
    def writable(self) -> bool: ...

    def hold_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    def exchange_over(self, exchange: "Exchange") -> None:
        """The next request may be answered."""


class Gateway(Protocol):
    answer_timeout: float

    async def serve(self, exchange: "Exchange") -> None: ...


class Exchange:
    """Made when a request's head is complete; ``begin`` when it is its turn. ``front`` then calls ``client_*``."""

    disconnected = False

    def __init__(self, gateway: Gateway, front: Front, head: Head, target: Target, keep_alive: bool) -> None:
        self.head, self.target = head, target
        self.response_complete = False
        # After a change of protocol that was not agreed on, nobody can say what the next byte is.
        self.keep_alive = keep_alive and head.version == "1.1" and not head.upgrade
        self.answer: Answer | None = None
        self._gateway = gateway
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._client_done = False  # Its request is whole.
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    @property
    def begun(self) -> bool:
        return self._task is not None

    @property
    def tunnel(self) -> bool:
        return self.answer is not None and self.answer.upgraded

    def begin(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._gateway.serve(self)
        except Refusal as refusal:
            self.refuse(refusal)
        except asyncio.CancelledError:
            self._end(False)
            raise
        except Exception:  # The outermost edge: whatever broke, the client gets an answer.
            log.exception("preview_failed")
            self.refuse(Refusal.unexpected())

    # -- for the gateway -----------------------------------------------------------------------------------------------

    async def carry(self, connection: Connection, head: bytes, answer: Answer) -> bool:
        """Send the request and take the answer to the client. False: the connection was an old one that had just been
        closed, nothing has happened, and a new one should be tried. Refusal where no answer comes."""
        self.answer, self._connection = answer, connection
        self._over = self._loop.create_future()
        connection.owner = self
        connection.write(head)
        if not self._front.writable:
            self.client_writable(False)
        self._send_waiting()
        self._watch_answer()
        try:
            await self._over
        except BadAnswer:
            raise Refusal.bad_answer() from None
        finally:
            self._stop_watching()
        if not answer.begun and not answer.complete:
            if connection.used and self.repeatable:
                return False
            raise Refusal.closed_early()
        self._end(answer.complete)
        return True

    @property
    def repeatable(self) -> bool:
        """Whether it can be asked twice."""
        return self.head.method in REPEATABLE and not self.head.has_body and not self.head.upgrade

    @property
    def reusable(self) -> bool:
        """Whether the app's connection can take another request."""
        return self.answer is not None and self.answer.complete and self.answer.reusable and self._client_done

    def write(self, data: bytes) -> None:
        self._front.transport.write(data)

    def respond(self, data: bytes) -> None:
        """An answer that is the gateway's own."""
        self.write(data)
        self._end(True)

    def refuse(self, refusal: Refusal) -> None:
        if self.response_complete or self._front.transport.is_closing():
            self._end(False)
            return
        if self.answer is not None and self.answer.begun:
            self._end(False)
            return
        if refusal.status == 400 or self.head.first(b"expect"):
            self.keep_alive = False
        page = self.head.wants_page
        head_only = self.head.method == b"HEAD"
        self.respond(refusals.answer(refusal, page=page, head_only=head_only, keep_alive=self.keep_alive))

    # -- the client's side ---------------------------------------------------------------------------------------------

    def client_sent(self, data: bytes) -> None:
        """A piece of the body, or of what comes after it in another protocol."""
        if self.response_complete:
            return
        if self._connection is None or (self.head.upgrade and not self.tunnel):
            self._waiting.append(data)
            self._waiting_size += len(data)
            if self._waiting_size > MAX_WAITING:
                self._front.hold_reading()
            return
        self._send(data)
        self._watch_answer()

    def client_finished(self) -> None:
        """The request is whole."""
        self._client_done = True
        if self._connection is not None and not self.response_complete:
            self._finish_body()

    def client_writable(self, writable: bool) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._connection is None:
            return
        if writable:
            self._connection.resume()
        else:
            self._connection.pause()
            self._stall = self._loop.call_later(STALL, self._front.transport.abort)

    def client_lost(self) -> None:
        self.disconnected = True
        if self._task is not None:
            self._task.cancel()
        else:
            self.response_complete = True

    # -- the app's side ------------------------------------------------------------------------------------------------

    def app_sent(self, data: bytes) -> None:
        answer = self.answer
        if answer is None or self._over.done():
            if self._connection is not None:
                self._connection.close()
            return
        if answer.upgraded:
            self.write(data)
            return
        try:
            rest = answer.feed(data)
        except BadAnswer as error:
            self._settle(error)
            return
        if answer.upgraded:
            self._upgrade(rest)
        elif answer.complete:
            self._settle()
        elif answer.begun:
            self._stop_watching()

    def app_ended(self) -> None:
        if self._over.done():
            return
        if self.answer is not None:
            self.answer.end()
        self._settle()

    def app_writable(self, writable: bool) -> None:
        if writable:
            self._front.go_on_reading()
        else:
            self._front.hold_reading()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        assert self._connection is not None
        if self.head.chunked and not self.tunnel:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._connection.write(data)

    def _send_waiting(self) -> None:
        if self.head.upgrade:  # Not before the app has agreed.
            return
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        self._front.go_on_reading()
        for data in waiting:
            self._send(data)
        if self._client_done:
            self._finish_body()

    def _finish_body(self) -> None:
        if self.head.chunked and self._connection is not None:
            self._connection.write(b"0\r\n\r\n")
        self._watch_answer()

    def _upgrade(self, rest: bytes) -> None:
        self._stop_watching()
        self._front.go_on_reading()
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._send(data)
        if rest:
            self.write(rest)

    def _settle(self, error: Exception | None = None) -> None:
        """Nothing more is to be had from the app."""
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def _watch_answer(self) -> None:
        """An app that neither answers nor takes the body may not hold its client for ever."""
        if self.answer is not None and not self.answer.begun:
            self._stop_watching()
            self._timer = self._loop.call_later(self._gateway.answer_timeout, self._no_answer)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _no_answer(self) -> None:
        if self.answer is not None and not self.answer.begun:
            self._settle(Refusal.no_answer(self._gateway.answer_timeout))

    def _end(self, whole: bool) -> None:
        """The client has all that it will get; one that got a part learns it from the end of its connection."""
        if self.response_complete:
            return
        self.response_complete = True
        if self._stall is not None:
            self._stall.cancel()
        if self.answer is not None and not self.answer.keep_alive:
            self.keep_alive = False
        if not whole:
            self.keep_alive = False
            if not self._front.transport.is_closing():
                (self._front.transport.close if self.tunnel else self._front.transport.abort)()
        self._front.exchange_over(self)
