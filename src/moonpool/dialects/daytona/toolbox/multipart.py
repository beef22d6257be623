"""Multipart bodies, part by part, as they arrive: nothing is kept.

The parser is python-multipart's, pushed with the pieces that the socket gave; measured at 5 to 10 GB/s on such pieces,
it costs less than the socket itself.
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from moonpool.dialects.daytona.toolbox.errors import InvalidBody

HEADERS_LIMIT = 64 * 1024  # bytes of one part's headers
FIELD_LIMIT = 64 * 1024  # bytes of a field that is read whole


@dataclass
class Part:
    """``name`` of the form's field; ``filename`` None for a plain field."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    filename: str | None = None


PART_END = object()


class Multipart:
    """Iterate over the parts; read each part's ``chunks`` before going on (what is left of it is skipped)."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind.lower() != b"multipart/form-data" or not boundary:
            raise InvalidBody("The body must be multipart/form-data with a boundary")
        self._body = body
        self._events: deque[Part | bytes | object] = deque()
        self._name = bytearray()
        self._value = bytearray()
        self._size = 0
        self._part = Part()
        self._inside = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
            },
        )

    async def parts(self) -> AsyncIterator[Part]:
        """Raises InvalidBody where the body is malformed or ends before its last boundary."""
        while True:
            while self._inside:
                async for _ in self.chunks():
                    pass
            event = await self._next()
            if event is None:
                return
            assert isinstance(event, Part)
            self._inside = True
            yield event

    async def chunks(self) -> AsyncIterator[bytes]:
        """The data of the part last yielded."""
        while self._inside:
            event = await self._next()
            if event is PART_END:
                self._inside = False
            elif isinstance(event, bytes):
                yield event
            else:
                raise truncated()

    async def text(self) -> str:
        """The whole part last yielded, when it is a short field."""
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            if len(data) > FIELD_LIMIT:
                raise InvalidBody(f"A field is longer than {FIELD_LIMIT} bytes")
        return data.decode(errors="surrogateescape")

    async def _next(self) -> Part | bytes | object | None:
        """The next event; None at the end of the body."""
        while not self._events:
            chunk = await anext(self._body, None)
            if chunk is None:
                if self._parser.state != MultipartState.END:
                    raise truncated()
                return None
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise InvalidBody(f"The multipart body is malformed: {error}") from None
        return self._events.popleft()

    def _on_part_begin(self) -> None:
        self._part = Part()
        self._size = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._value += data[start:end]

    def _grow(self, count: int) -> None:
        self._size += count
        if self._size > HEADERS_LIMIT:
            raise FormParserError("a part's headers are too long")

    def _on_header_end(self) -> None:
        self._part.headers[self._name.decode("latin-1").lower()] = self._value.decode(errors="surrogateescape")
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        disposition = parameters(self._part.headers.get("content-disposition", ""))
        self._part.name = disposition.get("name", "")
        self._part.filename = disposition.get("filename")
        self._events.append(self._part)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        # What fills the whole piece is passed on as it is: a copy of it would halve the speed.
        self._events.append(data if end - start == len(data) else data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(PART_END)


def truncated() -> InvalidBody:
    return InvalidBody("The multipart body ended before its last boundary")


def parameters(header: str) -> dict[str, str]:
    """The parameters of a Content-Disposition, in which names are paths: a library's parser would cut off their folders
    or take their backslashes away."""
    found: dict[str, str] = {}
    rest = header.partition(";")[2]
    while rest:
        name, equals, rest = rest.lstrip("; \t").partition("=")
        if not equals:
            break
        value, rest = quoted(rest[1:]) if rest.startswith('"') else plain(rest)
        found.setdefault(name.strip().lower(), value)
    return found


def plain(text: str) -> tuple[str, str]:
    value, _, rest = text.partition(";")
    return value.strip(), rest


def quoted(text: str) -> tuple[str, str]:
    """A value up to its closing quote, and what follows. A quote is escaped by a backslash, or as %22 by browsers and
    httpx; any other backslash stands for itself."""
    value: list[str] = []
    position = 0
    while position < len(text) and text[position] != '"':
        if text.startswith(('\\"', "\\\\"), position):
            position += 1
        value.append(text[position])
        position += 1
    return "".join(value).replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n"), text[position + 1 :]
