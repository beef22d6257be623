"""Uploads as they arrive: multipart bodies of which never more than a chunk is held."""

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from moonpool.errors import InvalidInput

MAX_PATH = 16 * 1024  # bytes


class Upload:
    """The part ``path``, then the part ``file``; others are passed over. InvalidInput for any other order or form."""

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidInput("The body must be multipart/form-data with a boundary")
        self._body = request.stream()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )
        self._header = bytearray()
        self._value = bytearray()
        self._name = b""
        self._path: bytearray | None = None
        self._chunks: list[bytes] = []
        self._file_begun = False
        self._ended = False

    async def path(self) -> str:
        """Read up to the file."""
        while not self._file_begun:
            await self._advance()
        if not self._path:
            raise InvalidInput("The field path must come before the file", field="path")
        try:
            return self._path.decode()
        except UnicodeDecodeError:
            raise InvalidInput("path: not UTF-8", field="path") from None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file. A body that breaks off raises at its end, so that no half of a file passes for a whole one."""
        while True:
            chunks, self._chunks = self._chunks, []
            for chunk in chunks:
                yield chunk
            if self._ended:
                return
            await self._advance()

    async def _advance(self) -> None:
        chunk = await anext(self._body, b"")
        if not chunk:
            raise InvalidInput("The body ends before its file does" if self._file_begun else "file: missing")
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidInput(f"The multipart body is malformed: {error}") from None

    def _on_part_begin(self) -> None:
        self._name = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._name = parse_options_header(bytes(self._value))[1].get(b"name", b"")
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        if self._name == b"path" and self._path is None:
            self._path = bytearray()
        elif self._name == b"file":
            if self._file_begun:
                raise InvalidInput("file: only one at a time", field="file")
            self._file_begun = True

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == b"file":
            self._chunks.append(data[start:end])
        elif self._name == b"path" and self._path is not None:
            self._path += data[start:end]
            if len(self._path) > MAX_PATH:
                raise InvalidInput("path: too long", field="path")

    def _on_end(self) -> None:
        self._ended = True
