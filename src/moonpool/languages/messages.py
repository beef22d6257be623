"""JSON-RPC messages in the Language Server Protocol's frames."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

HEADER = b"Content-Length: "
END = b"\r\n\r\n"
MESSAGE_LIMIT = 16 * 1024 * 1024  # bytes
HEADERS_LIMIT = 4096  # bytes

# Of JSON-RPC and of the protocol.
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED, REQUEST_FAILED = -32002, -32803

Message = dict[str, Any]


def framed(message: Mapping[str, Any]) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()
    return HEADER + str(len(body)).encode() + END + body


def refusal(number: Any, code: int, text: str) -> Message:
    """The answer to request ``number`` that says why there is none."""
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}


class Frames:
    """What a server writes, as messages. It may be joined in the middle of a message: that one is passed over."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        self._buffer += data
        while (found := self._next()) is not None:
            if isinstance(found, dict):
                yield found

    def _next(self) -> Message | bool | None:
        """The next message; True for something that is none and was passed over; None when more must come."""
        start = self._buffer.find(HEADER)
        if start < 0:
            del self._buffer[: -len(HEADER)]
            return None
        del self._buffer[:start]
        end = self._buffer.find(END)
        if end < 0:
            return self._pass_over() if len(self._buffer) > HEADERS_LIMIT else None
        digits = bytes(self._buffer[len(HEADER) : end]).split(b"\r\n")[0]
        if not digits.isdigit() or int(digits) > MESSAGE_LIMIT:
            return self._pass_over()
        begin, size = end + len(END), int(digits)
        if len(self._buffer) < begin + size:
            return None
        body = bytes(self._buffer[begin : begin + size])
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return self._pass_over()
        del self._buffer[: begin + size]
        return message if isinstance(message, dict) else True

    def _pass_over(self) -> bool:
        del self._buffer[: len(HEADER)]
        return True
