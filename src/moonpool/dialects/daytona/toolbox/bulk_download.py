"""Many files in one answer, a part each."""

import json
import secrets

from moonpool.dialects.daytona.toolbox.call import Call
from moonpool.dialects.daytona.toolbox.errors import error_document
from moonpool.dialects.daytona.toolbox.models import FilesDownloadRequest
from moonpool.dialects.daytona.toolbox.transfer import begin, disposition, measured, send_file
from moonpool.errors import InvalidInput, MoonpoolError
from moonpool.files.service import OpenFiles


async def bulk_download(call: Call) -> None:
    """A file that cannot be read becomes a part that says why; the answer itself is fine.

    An answer that breaks off lacks its last boundary, and so is known to be cut.
    """
    request = await call.body(FilesDownloadRequest)
    if not request.paths:
        raise InvalidInput("paths must not be empty", field="paths")
    await call.unless_gone(send_files(call, request.paths))


async def send_files(call: Call, paths: list[str]) -> None:
    boundary = secrets.token_hex(16)
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        await begin(call, {"content-type": f"multipart/form-data; boundary={boundary}"})
        for number, path in enumerate(paths):
            await send_part(call, files, path, f"--{boundary}\r\n" if not number else f"\r\n--{boundary}\r\n")
        await call.send({"type": "http.response.body", "body": f"\r\n--{boundary}--\r\n".encode()})


async def send_part(call: Call, files: OpenFiles, path: str, opening: str) -> None:
    begun = False
    try:
        async with files.read(path) as reader:
            size, chunks = await measured(reader)
            begun = True
            await send_text(call, opening + part_headers("file", path, "application/octet-stream", size))
            await send_file(call, chunks, size)
    except MoonpoolError as error:
        if begun:
            raise
        text = json.dumps({**error_document(call.connection, error), "path": path})
        await send_text(call, opening + part_headers("error", path, "application/json", len(text)) + text)


def part_headers(name: str, path: str, content_type: str, size: int) -> str:
    """The client finds its file by the path, so it goes back as it came."""
    return (
        f"Content-Disposition: {disposition('form-data', name=name, filename=path)}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )


async def send_text(call: Call, text: str) -> None:
    await call.send({"type": "http.response.body", "body": text.encode(), "more_body": True})
