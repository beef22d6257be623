"""What an app answers, on its way to the client: cut into head and body, and framed anew for that connection."""

from collections.abc import Callable
from enum import Enum, auto

import httptools

from moonpool.previews.gateway.request import HOP_BY_HOP, Headers

MAX_HEAD = 256 * 1024  # bytes of an answer's line and headers
BODILESS = (204, 304)
SWITCHED = 101
LAST_CHUNK = b"0\r\n\r\n"


class BadAnswer(Exception):
    """What came is no answer to the request."""


class Framing(Enum):
    """How the client learns where the body ends."""

    NONE = auto()
    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()


class Answer:
    """One answer; ``feed`` it what the app sends, ``end`` it when the app closes. ``send`` takes bytes for the client.

    ``edit`` may change the headers of the final answer; ``keep_alive`` tells whether the client's connection goes on.
    Raises BadAnswer.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        method: bytes,
        version: str,
        keep_alive: bool,
        edit: Callable[[Headers], Headers] = lambda headers: headers,
        upgrade: bool = False,
    ) -> None:
        self._send = send
        self._method = method
        self._edit = edit
        self._modern = version == "1.1"
        self._may_upgrade = upgrade
        self.keep_alive = keep_alive and self._modern
        self.status = 0
        self.begun = False  # Something of the final answer has gone to the client.
        self.complete = False
        self.upgraded = False
        self.reusable = False  # The app's connection can take another request.
        self._framing = Framing.NONE
        self._until_close = False
        self._reason = b""
        self._headers: Headers = []
        self._pending = 0
        self._left = 0  # bytes of a body whose length was said
        self._informed = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bytes:
        """Answers with what belongs to another protocol, once the app has changed it."""
        if self.complete:
            self.reusable = False
            return b""
        if self._left:
            self._pass_on(data)
            return b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self.upgraded:
                raise BadAnswer("an upgrade that nobody asked for") from upgrade
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if not self.complete:
                raise BadAnswer(str(error)) from error
            self.reusable = False
        if not self.begun:
            self._pending += len(data)
            if self._pending > MAX_HEAD:
                raise BadAnswer("headers without end")
        return b""

    def _pass_on(self, data: bytes) -> None:
        """A body of known length needs no parser: large ones would be copied once more by it."""
        if len(data) > self._left:
            data, self.reusable = data[: self._left], False
        self._left -= len(data)
        self._send(data)
        if not self._left:
            self._finish()

    def end(self) -> bool:
        """The app has closed its connection; whether this is how its answer was to end."""
        self.reusable = False
        if self.begun and self._until_close and not self.complete:
            self._finish()
        return self.complete

    # -- the parser's side ---------------------------------------------------------------------------------------------

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.begun:  # What comes later are trailers.
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:  # A second answer, that nobody asked for.
            self.reusable = False
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._inform()
            return
        self._informed = False
        self._write_head()
        self.reusable = self._parser.should_keep_alive() and not self._until_close
        if self._framing is Framing.NONE:
            self._finish()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self.reusable = False
        elif self._framing is Framing.CHUNKS:
            self._send(b"%x\r\n%b\r\n" % (len(body), body))
        else:
            self._left = max(0, self._left - len(body))
            self._send(body)

    def on_message_complete(self) -> None:
        if self._informed or self.upgraded:
            return
        if not self.complete and not self._until_close:
            self._finish()

    # -- the client's side ---------------------------------------------------------------------------------------------

    def _inform(self) -> None:
        """An answer before the answer."""
        headers, reason, self._headers, self._reason = self._headers, self._reason, [], b""
        self._informed = True
        if self.status == SWITCHED:
            if not self._may_upgrade or not self._parser.should_upgrade():
                raise BadAnswer("an upgrade that nobody asked for")
            self.upgraded = self.begun = True
            kept = [(name, value) for name, value in headers if name.lower() not in (b"connection", b"upgrade")]
            kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
            self._send(lines(self.status, reason, self._edit(kept)))
        elif self._modern:
            self._send(lines(self.status, reason, without_hops(headers)))

    def _write_head(self) -> None:
        known = {name.lower() for name, _ in self._headers}
        headers = without_hops(self._headers)
        chunked = b"transfer-encoding" in known
        if chunked:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        if self._method == b"HEAD" or self.status in BODILESS:
            self._framing = Framing.NONE
        elif b"content-length" in known and not chunked:
            self._framing = Framing.LENGTH
            self._left = next(int(value) for name, value in headers if name.lower() == b"content-length")
        else:
            self._until_close = not chunked
            self._framing = Framing.CHUNKS if self._modern else Framing.CLOSE
        headers = self._edit(headers)
        if self._framing is Framing.CHUNKS:
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif self._framing is Framing.CLOSE:
            self.keep_alive = False
        if not self.keep_alive:
            headers.append((b"Connection", b"close"))
        self.begun = True
        self._send(lines(self.status, self._reason, headers))

    def _finish(self) -> None:
        if self._framing is Framing.CHUNKS:
            self._send(LAST_CHUNK)
        self.complete = True


def lines(status: int, reason: bytes, headers: Headers) -> bytes:
    parts = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def without_hops(headers: Headers) -> Headers:
    dropped = set(HOP_BY_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            dropped.update(part.strip().lower() for part in value.split(b","))
    return [(name, value) for name, value in headers if name.lower() not in dropped - {b"content-length"}]
