"""A shell's output on its way to clients: whole characters, few and large pieces, and a memory of the latest."""

import asyncio
import codecs
from collections import deque
from collections.abc import Callable

WINDOW = 0.01  # seconds in which a screen's output is gathered
# Seconds in which a command's output is gathered, and for which its unfinished line waits for its end. The SDK joins
# pieces by line breaks, so each piece less is a false empty line less; and whoever waits for the whole does not wait
# longer, since the end of the command ends this wait.
COMMAND_WINDOW = 0.1
ENOUGH = 64 * 1024  # characters that are sent without waiting for more
SCROLLBACK = 128 * 1024  # characters kept for who opens the shell later


class Feed:
    """``emit`` gets the pieces. Use within one event loop; ``close`` when done."""

    def __init__(self, emit: Callable[[str], None], *, plain: bool) -> None:
        self.position = 0  # bytes of the process's output that have been taken
        self.plain = plain  # a program's output, not a screen: lines end as they do in files, and stay together
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._return = ""  # a carriage return that may belong to a line's end
        self._pending: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waited = False
        self._kept: deque[str] = deque()
        self._kept_size = 0

    @property
    def full(self) -> bool:
        return self._size >= ENOUGH

    def receive(self, data: bytes) -> None:
        self.position += len(data)
        self._add(self._decoder.decode(data))

    def finish(self) -> None:
        """There will be no more: everything goes out now."""
        self._add(self._decoder.decode(b"", final=True))
        self._pending.append(self._return)
        self._return = ""
        self.flush()

    def flush(self) -> None:
        """Send everything that has come, whether its line is complete or not."""
        self._send("".join(self._pending), "")

    def scrollback(self) -> str:
        """The latest of what was sent."""
        return "".join(self._kept)[-SCROLLBACK:]

    def forget(self) -> None:
        """A new process begins: nothing of the old one is shown any more."""
        self.close()
        self.position = 0
        self._decoder.reset()
        self._return = ""
        self._pending.clear()
        self._kept.clear()
        self._size = self._kept_size = 0

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _add(self, text: str) -> None:
        if self.plain:
            text = self._return + text
            self._return = "\r" if text.endswith("\r") else ""
            text = text.removesuffix(self._return).replace("\r\n", "\n")
        if text:
            self._pending.append(text)
            self._size += len(text)
        if self.full:
            self._due()
        elif self._size and self._timer is None:
            self._waited = False
            self._wait(COMMAND_WINDOW if self.plain else WINDOW)

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        """Send whole lines; a command's unfinished one gets a little more time, once."""
        text = "".join(self._pending)
        end = text.rfind("\n") + 1
        if not self.plain or self._waited or end == len(text) or len(text) - end >= ENOUGH:
            self._send(text, "")
            return
        self._send(text[:end], text[end:])
        self._waited = True
        self._wait(COMMAND_WINDOW)

    def _send(self, text: str, rest: str) -> None:
        self.close()
        self._pending = [rest] if rest else []
        self._size = len(rest)
        if not text:
            return
        self._kept.append(text)
        self._kept_size += len(text)
        while self._kept_size - len(self._kept[0]) >= SCROLLBACK:
            self._kept_size -= len(self._kept.popleft())
        self._emit(text)
