"""The content of files, in and out, piece by piece with what the other side can take."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.multipart import Multipart, Part
from moonpool.errors import GuestError, InvalidInput, TooLarge
from moonpool.files.service import OpenFiles
from moonpool.guest.streams import FileReader

BAD_REQUEST = 400
PATH_FIELD, FILE_FIELD = ".path", ".file"
MAX_UNMEASURED = 16 << 20  # bytes
MAX_FILES = 10_000  # of one bulk upload


async def download(call: Call) -> None:
    await send_path(call, call.query("path"))


async def send_path(call: Call, path: str) -> None:
    async with (
        call.tools.files.open(call.principal, call.sandbox) as files,
        files.read(path) as reader,
    ):
        size, chunks = await measured(reader)
        headers = {
            "content-type": "application/octet-stream",
            "content-disposition": disposition("attachment", filename=reader.info.name),
            "content-length": str(size),
        }
        await begin(call, headers)
        await send_file(call, chunks, size)
        await call.send({"type": "http.response.body", "body": b""})


async def upload(call: Call) -> Response:
    """One file to ``?path=``: the body itself, or the part ``file`` of a form."""
    path = call.query("path")
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        if call.request.headers.get("content-type", "").lower().startswith("multipart/"):
            await receive_form(call, files, path)
        else:
            await receive_raw(call, files, path)
        info = await files.stat(path)
    return json_response({"name": info.name, "path": info.path, "type": "file"})


async def receive_raw(call: Call, files: OpenFiles, path: str) -> None:
    announced = call.request.headers.get("content-length", "")
    size = int(announced) if announced.isdigit() else None
    async with files.write(path, size=size) as writer:
        async for chunk in call.request.stream():
            await writer.write(chunk)


async def receive_form(call: Call, files: OpenFiles, path: str) -> None:
    form = Multipart(call.request.headers["content-type"], call.request.stream())
    found = False
    async for part in form.parts():
        if part.name == "file" and not found:
            found = True
            await store(form, files, path)
    if not found:
        raise InvalidInput("The form has no part 'file'", field="file")


async def store(form: Multipart, files: OpenFiles, path: str) -> int:
    """How many bytes the current part had. A part that is cut off leaves no file."""
    size = 0
    async with files.write(path) as writer:
        async for chunk in form.chunks():
            size += len(chunk)
            await writer.write(chunk)
    return size


@dataclass
class BulkUpload:
    """Files and their paths come as ``files[N].file`` and ``files[N].path``, the path first."""

    form: Multipart
    files: OpenFiles
    paths: dict[str, str] = field(default_factory=dict)
    stored: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def run(self) -> None:
        async for part in self.form.parts():
            if len(self.paths) + len(self.stored) + len(self.errors) > MAX_FILES:
                raise InvalidInput(f"At most {MAX_FILES} files can be uploaded at once")
            if part.name.endswith(PATH_FIELD):
                self.paths[part.name.removesuffix(PATH_FIELD)] = await self.form.text()
            elif part.name.endswith(FILE_FIELD):
                await self._store(part)

    async def _store(self, part: Part) -> None:
        path = self.paths.pop(part.name.removesuffix(FILE_FIELD), None)
        if path is None:
            self.errors.append(f"{part.name}: its path must come before it")
            return
        try:
            self.stored.append({"path": path, "bytes": await store(self.form, self.files, path)})
        except GuestError as error:
            self.errors.append(f"{path}: {error.message}")


async def bulk_upload(call: Call) -> Response:
    """One file that cannot be stored does not keep the others from it."""
    form = Multipart(call.request.headers.get("content-type", ""), call.request.stream())
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        bulk = BulkUpload(form, files)
        await bulk.run()
    bulk.errors += [f"{name}{FILE_FIELD} is missing" for name in bulk.paths]
    if not bulk.errors and not bulk.stored:
        bulk.errors.append("The form has no files")
    answer: dict[str, Any] = {"files": bulk.stored}
    if bulk.errors:
        return json_response({**answer, "errors": bulk.errors}, BAD_REQUEST)
    return json_response(answer)


async def begin(call: Call, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await call.send({"type": "http.response.start", "status": 200, "headers": raw})


async def measured(reader: FileReader) -> tuple[int, AsyncIterable[bytes]]:
    """A file's size and its bytes. The kernel's own files say 0 and are not empty, so they are read beforehand."""
    if reader.info.size:
        return reader.info.size, reader
    whole = b""
    async for chunk in reader:
        whole += chunk
        if len(whole) > MAX_UNMEASURED:
            raise TooLarge("The file does not tell its size, and is larger than 16 MiB")
    return len(whole), one_piece(whole)


async def one_piece(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


async def send_file(call: Call, chunks: AsyncIterable[bytes], size: int) -> None:
    """Exactly ``size`` bytes: a file that grows meanwhile is cut there, one that shrinks breaks the answer off."""
    left = size
    async for chunk in limited(chunks, size):
        left -= len(chunk)
        await call.send({"type": "http.response.body", "body": chunk, "more_body": True})
    if left:
        raise FileShrunk


class FileShrunk(GuestError):
    default = "The file became shorter while it was read"


async def limited(chunks: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    left = size
    async for chunk in chunks:
        if left <= 0:
            return
        yield chunk if len(chunk) <= left else chunk[:left]
        left -= len(chunk)


def disposition(kind: str, **parameters: str) -> str:
    """A Content-Disposition; text that is not plain ASCII goes percent-encoded, as RFC 5987 has it."""
    parts = [kind]
    for name, value in parameters.items():
        if value.isascii() and value.isprintable():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'{name}="{escaped}"')
        else:
            parts.append(f"{name}*=UTF-8''{quote(value, safe='', errors='surrogateescape')}")
    return "; ".join(parts)
