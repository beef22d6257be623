"""Addresses under which a file or a folder of a sandbox can be fetched for a few minutes, without any key."""

import asyncio
import posixpath
import stat
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.globs import matcher
from moonpool.dialects.codesandbox.pitcher.paths import resolved
from moonpool.dialects.codesandbox.pitcher.tokens import Download, Tokens
from moonpool.dialects.common.services import Services
from moonpool.errors import GuestError, InvalidState, MoonpoolError, SandboxNotFound, Unauthorized
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileInfo

DEFAULT_EXCLUDES = ("node_modules",)
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that an archive can say
MAX_DEPTH = 64  # folders in folders
STATUSES: tuple[tuple[type[MoonpoolError], int], ...] = (
    (Unauthorized, 403),
    (SandboxNotFound, 404),
    (InvalidState, 409),
    (GuestError, 404),
)


async def offer(call: Call) -> dict[str, Any]:
    """The address; raises FileNotFound for what is not there."""
    path = resolved(call.grant, call.params.text("path"))
    excludes = call.params.texts("excludes") or DEFAULT_EXCLUDES
    async with call.hub.place.agent() as agent:
        info = await agent.stat(path, user=call.grant.user)
    name = (info.name.strip("/") or "root") + (".zip" if info.kind == "directory" else "")
    token = call.hub.tokens.mint_download(Download(call.grant, path, excludes))
    where = f"/pitcher/{call.hub.place.sandbox_id}/download/{quote(name, safe='')}"
    return {"downloadUrl": f"{call.client.origin}{where}?token={token}"}


class Downloads:
    """``GET /pitcher/{sandbox_id}/download/{name}?token=...``; the name is for whoever saves it."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens

    async def serve(self, request: Request) -> Response:
        sandbox_id = request.path_params["sandbox_id"]
        async with AsyncExitStack() as stack:
            try:
                wanted = self._tokens.verify_download(request.query_params.get("token", ""), sandbox_id)
                principal = wanted.grant.principal
                session = await stack.enter_async_context(self._services.sandboxes.session(principal, sandbox_id))
                content, headers = await self._open(stack, session.agent, wanted)
            except MoonpoolError as error:
                status = next((status for kind, status in STATUSES if isinstance(error, kind)), 502)
                return JSONResponse({"success": False, "errors": [error.message]}, status)
            return Streamed(content, headers, stack.pop_all())

    async def _open(
        self, stack: AsyncExitStack, agent: AgentClient, wanted: Download
    ) -> tuple[AsyncIterator[bytes], dict[str, str]]:
        user = wanted.grant.user
        info = await agent.stat(wanted.path, user=user)
        if info.kind == "directory":
            await agent.list(wanted.path, user=user)  # So that what may not be read is refused with a status.
            return zipped(agent, wanted), headers_of(f"{info.name.strip('/') or 'root'}.zip", "application/zip")
        reader = await stack.enter_async_context(agent.read(wanted.path, user=user))
        headers = headers_of(info.name, "application/octet-stream")
        if reader.info.size:  # Of what the kernel makes up as it is read, 0 is said.
            headers["content-length"] = str(reader.info.size)
        return aiter(reader), headers


class Streamed(StreamingResponse):
    """Lets go of the sandbox when everything is sent, or the client is gone."""

    def __init__(self, content: AsyncIterator[bytes], headers: dict[str, str], resources: AsyncExitStack) -> None:
        super().__init__(content, headers=headers)
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


def headers_of(name: str, kind: str) -> dict[str, str]:
    encoded = quote(name.encode(errors="replace"), safe="")
    return {
        "content-type": kind,
        "content-disposition": f"attachment; filename*=UTF-8''{encoded}",
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }


class Sink:
    """Where an archive is written, to be sent on piece by piece; it cannot go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def zipped(agent: AgentClient, wanted: Download) -> AsyncIterator[bytes]:
    """The folder as an archive. What cannot be read, or goes while this runs, is left out."""
    sink, excluded = Sink(), matcher(wanted.excludes)
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[call-overload]
        async for info in below(agent, wanted.path, wanted.grant.user, excluded):
            name = posixpath.relpath(info.path, wanted.path)
            if info.kind == "file":
                async for piece in packed(agent, archive, sink, info, entry(name, info), wanted.grant.user):
                    yield piece
            elif info.kind == "directory":
                archive.writestr(entry(f"{name}/", info), b"")
            else:
                archive.writestr(entry(name, info), (info.target or "").encode(errors="surrogateescape"))
            yield sink.take()
    yield sink.take()


async def packed(
    agent: AgentClient, archive: zipfile.ZipFile, sink: Sink, info: FileInfo, said: zipfile.ZipInfo, user: str
) -> AsyncIterator[bytes]:
    try:
        async with agent.read(info.path, user=user) as reader:
            with archive.open(said, "w", force_zip64=True) as file:
                async for piece in reader:
                    await asyncio.to_thread(file.write, piece)
                    yield sink.take()
    except GuestError:
        return


async def below(agent: AgentClient, path: str, user: str, excluded: Callable[[str], bool]) -> AsyncIterator[FileInfo]:
    """Files, folders and links, a folder before what is in it."""
    waiting = [(path, 1)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = await agent.list(folder, user=user)
        except GuestError:
            continue
        for info in entries:
            if excluded(posixpath.relpath(info.path, path)) or info.kind == "other":
                continue
            yield info
            if info.kind == "directory" and depth < MAX_DEPTH:
                waiting.append((info.path, depth + 1))


def entry(name: str, info: FileInfo) -> zipfile.ZipInfo:
    kinds = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}
    modified = time.gmtime(info.modified_at)[:6]
    said = zipfile.ZipInfo(name.encode(errors="replace").decode(), max(modified, EARLIEST))
    said.external_attr = (kinds[info.kind] | info.mode) << 16
    said.compress_type = zipfile.ZIP_DEFLATED
    return said
