"""``systemctl`` and its like inside a sandbox: hands its arguments to the service manager, and its answer on;
``systemd-notify``, which speaks to its service's own socket.

Started by the small scripts that ``commands_inside`` writes, with the agent's own interpreter: the first argument is
the program, and everything is imported that is needed and no more.
"""

import contextlib
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

NOT_SET = b"$NOTIFY_SOCKET was not set"
FLAGS = {"--ready": "READY=1", "--reloading": "RELOADING=1", "--stopping": "STOPPING=1"}
SERVICE = "sandbox-units"
# Bytes of what precedes every answer: its kind, and how long it is. The kinds: 0 the exit code, 1 output, 2 errors,
# 3 a line to search, after what is to be searched and how long that is, 4 what to look for, 5 no more lines for now.
HEADER = 5
NOT_THERE = (
    b"System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    b"Failed to connect to bus: Host is down\n"
)


def notify(words: list[str]) -> int:
    """``systemd-notify``: what a service that is a script says of itself."""
    lines, remaining = [], list(words)
    while remaining:
        word = remaining.pop(0)
        name, sign, value = word.partition("=")
        if word in FLAGS:
            lines.append(FLAGS[word])
        elif name == "--status":
            lines.append("STATUS=" + (value if sign else remaining.pop(0) if remaining else ""))
        elif name == "--pid":
            lines.append(f"MAINPID={value if value.isdigit() else os.getppid()}")
        elif word == "--booted":
            return 0
        elif sign and not word.startswith("-"):
            lines.append(word)
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place or not lines:
        os.write(2, b"No status data could be sent: " + (b"nothing to say" if place else NOT_SET) + b"\n")
        return 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.connect("\0" + place[1:] if place.startswith("@") else place)
        service.send("\n".join(lines).encode())
    return 0


class Search:
    """``journalctl --grep``, done here: whoever looks for a pattern waits for it alone."""

    def __init__(self, rule: bytes) -> None:
        import json  # Hardly anybody needs them.
        import re
        from collections import deque

        found = json.loads(rule)
        try:
            self._pattern = re.compile(found["pattern"], re.IGNORECASE if found["ignore_case"] else 0)
        except re.error as error:
            raise ValueError(str(error)) from error
        self._first, self._nothing = found["first"], found["nothing"].encode()
        self._kept: deque[bytes] | None = deque(maxlen=found["lines"])

    def offer(self, content: bytes) -> None:
        length = 4 + int.from_bytes(content[:4], "big")
        if not self._pattern.search(content[4:length].decode(errors="replace")):
            return
        if self._kept is None:
            put(1, content[length:])
        elif not self._first or self._kept.maxlen is None or len(self._kept) < self._kept.maxlen:
            self._kept.append(content[length:])

    def print(self) -> None:
        """What was found up to now; what follows is printed at once."""
        if self._kept is not None:
            put(1, b"".join(self._kept) or self._nothing)
        self._kept = None


def put(kind: int, content: bytes) -> None:
    while content:
        content = content[os.write(kind, content) :]


def converse(answer: "IO[bytes]") -> int:
    """The exit code, at the end of what is to be printed."""
    search = None
    while len(header := answer.read(HEADER)) == HEADER:
        kind, content = header[0], answer.read(int.from_bytes(header[1:], "big"))
        if kind == 0:
            return int(content)
        if kind == 4:
            try:
                search = Search(content)
            except ValueError as error:
                put(2, f"Failed to compile pattern: {error}\n".encode())
                return 1
        elif search is not None and kind == 3:
            search.offer(content)
        elif search is not None and kind == 5:
            search.print()
        else:
            put(kind, content)
    return 1


def main() -> int:
    if sys.argv[1:2] == ["systemd-notify"]:
        return notify(sys.argv[2:])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect("\0" + os.environ.get("SANDBOX_UNITS", SERVICE))
    except OSError:
        os.write(2, NOT_THERE)
        return 1
    words = b"\0".join(os.fsencode(word) for word in sys.argv[1:])
    connection.sendall(len(words).to_bytes(4, "big") + words)
    with connection.makefile("rb") as answer:
        return converse(answer)


if __name__ == "__main__":
    code = 130
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        code = main()
    os._exit(code)
