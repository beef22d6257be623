"""Files and folders of a VM."""

import base64
import binascii
import posixpath
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from moonpool.dialects.common.bulk import json_list
from moonpool.dialects.freestyle.extensions import WriteFileRequest
from moonpool.dialects.freestyle.lookup import folder_of, open_session
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.requests import MAX_BODY, Call, Handler, answer, answer_plain
from moonpool.dialects.freestyle.schemas import (
    FileEncoding,
    FileInfo,
    FileKind,
    FileSystemResponse1,
)
from moonpool.errors import FileNotFound, InvalidInput, IsADirectory
from moonpool.files.service import OpenFiles
from moonpool.guest.model import FileInfo as EntryInfo
from moonpool.sandboxes.model import AgentSession

MAX_FILE = MAX_BODY // 2  # bytes of a file that one answer carries
TEXT = frozenset({None, "", "utf8", "utf-8"})
BASE64 = "base64"


async def get_file(call: Call) -> Response:
    """What is in a file, as text where it is UTF-8, or the names in a folder."""
    async with open_session(call) as session:
        files, path = opened(call, session)
        try:
            return await read(files, path)
        except IsADirectory:
            return await listing(files, path)
        except FileNotFound as error:
            raise FreestyleError(404, "FILE_NOT_FOUND", f"File not found: {path}", path=path) from error


async def put_file(call: Call) -> Response:
    """Parents are made; the file takes its name only once it is whole."""
    wanted = await call.parse(WriteFileRequest, nul=True)
    content = decoded(wanted.content, wanted.encoding)
    async with open_session(call) as session:
        files, path = opened(call, session)
        async with files.write(path, size=len(content)) as writer:
            await writer.write(content)
    return answer_plain({})


def opened(call: Call, session: AgentSession) -> tuple[OpenFiles, str]:
    """The files as who asks may use them, and the path, made absolute."""
    path = posixpath.join(folder_of(call, session.sandbox) or "~", wanted_path(call))
    return OpenFiles(session.agent, call.linux_user or session.sandbox.user), path


def wanted_path(call: Call) -> str:
    """The SDKs send the path as one encoded segment; slashes that are not encoded say that it is meant from the root,
    where a leading one could not be seen."""
    path = call.path("filepath")
    raw: bytes = call.request.scope.get("raw_path", b"")
    _, _, segments = raw.partition(b"/files/")
    return path if b"/" not in segments or path.startswith("/") else f"/{path}"


async def read(files: OpenFiles, path: str) -> Response:
    async with files.read(path, length=MAX_FILE + 1) as reader:
        content = b"".join([chunk async for chunk in reader])
    if len(content) > MAX_FILE:
        raise InvalidInput(f"The file is larger than {MAX_FILE // 1024 // 1024} MiB")
    try:
        return answer(FileSystemResponse1(content=content.decode(), encoding=FileEncoding.utf8))
    except UnicodeDecodeError:
        text = base64.b64encode(content).decode()
        return answer(FileSystemResponse1(content=text, encoding=FileEncoding.base64))


async def listing(files: OpenFiles, path: str) -> Response:
    """A link counts as what it leads to; whatever is no folder is a file."""
    entries = await files.entries(path)
    return json_list(entries, described, "files")


def described(entry: EntryInfo) -> dict[str, Any]:
    folder = "directory" in (entry.kind, entry.target_kind)
    info = FileInfo(name=printable(entry.name), kind=FileKind.directory if folder else FileKind.file)
    return info.model_dump(mode="json", by_alias=True)


def decoded(content: str, encoding: str | None) -> bytes:
    """``encoding`` as the contract writes it (utf8), as ``additionalFiles`` does (utf-8), or base64."""
    if encoding in TEXT:
        try:
            return content.encode()
        except UnicodeEncodeError:
            raise InvalidInput("content: not valid text", field="content") from None
    if encoding != BASE64:
        raise InvalidInput("encoding: must be utf8, utf-8 or base64", field="encoding")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("content: not valid base64", field="content") from None


def printable(text: str) -> str:
    """A name that is not UTF-8 inside, which JSON cannot carry, is shown as near as can be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


HANDLERS: Mapping[str, Handler] = {"get_file": get_file, "put_file": put_file}
