"""Files: read and write (each plain and as a stream, which is the same thing here), list, mkdir, remove."""

import stat
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from moonpool.dialects.common.bulk import json_list
from moonpool.dialects.wrenn.lookup import open_session
from moonpool.dialects.wrenn.requests import Caller, Provided, answer, parse
from moonpool.dialects.wrenn.schemas import (
    FileEntry,
    ListDirRequest,
    MakeDirRequest,
    MakeDirResponse,
    ReadFileRequest,
    RemoveRequest,
)
from moonpool.dialects.wrenn.schemas import Type1 as EntryType
from moonpool.dialects.wrenn.upload import Upload
from moonpool.errors import AccessDenied, FileExists, InvalidInput
from moonpool.guest.model import FileInfo
from moonpool.sandboxes.model import AgentSession

MAX_DEPTH = 64  # folders below the one listed
HELD = 4 * 1024 * 1024  # bytes; more than the agent takes before it tells that it refuses
TYPE_BITS: Mapping[str, int] = {
    "file": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "other": 0,
}

Result = TypeVar("Result")

router = APIRouter()


@router.post("/v1/capsules/{id}/files/read")
@router.post("/v1/capsules/{id}/files/stream/read")
async def read_file(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    path = required((await parse(request, ReadFileRequest)).path)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(services, principal, id))
        reader = await as_owner(
            session, lambda user: stack.enter_async_context(session.agent.read(path, user=user)), path
        )
        return Download(reader, stack.pop_all())


@router.post("/v1/capsules/{id}/files/write")
@router.post("/v1/capsules/{id}/files/stream/write")
async def write_file(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    """Parents are made; the file takes its name only once it has arrived whole."""
    async with open_session(services, principal, id) as session:
        upload = Upload(request)
        path = required(await upload.path())
        await store(session, path, upload.chunks())
    return Response(status_code=204)


@router.post("/v1/capsules/{id}/files/list")
async def list_directory(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    """An empty path is the home directory: the SDK's ``exists("name")`` asks for its parent."""
    wanted = await parse(request, ListDirRequest)
    depth = 1 if wanted.depth is None else wanted.depth
    if not 0 <= depth <= MAX_DEPTH:
        raise InvalidInput(f"depth: must be 0 to {MAX_DEPTH}", field="depth")
    path = wanted.path or "~"
    async with open_session(services, principal, id) as session:
        found = await as_owner(session, lambda user: session.agent.list(path, max(depth, 1), user=user), path)
    return json_list(found, entry_document, "entries")


@router.post("/v1/capsules/{id}/files/mkdir")
async def make_directory(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    path = required((await parse(request, MakeDirRequest)).path)
    async with open_session(services, principal, id) as session:
        agent = session.agent

        try:
            made = await as_owner(session, lambda user: agent.mkdir(path, exist_ok=False, user=user), path)
        except FileExists:
            raise FileExists(f"already_exists: {path}") from None
    return answer(MakeDirResponse(entry=entry(made)))


@router.post("/v1/capsules/{id}/files/remove")
async def remove_path(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    path = required((await parse(request, RemoveRequest)).path)
    async with open_session(services, principal, id) as session:
        await as_owner(session, lambda user: session.agent.remove(path, recursive=True, user=user), path)
    return Response(status_code=204)


async def as_owner(session: AgentSession, work: Callable[[str | None], Awaitable[Result]], path: str) -> Result:
    """As the capsule's user, so that files become theirs; as root where that user may not.

    Whoever holds the key owns the whole capsule; Wrenn's clients write to /app and /opt as a matter of course.
    """
    try:
        return await work(session.sandbox.user)
    except AccessDenied:
        if not path.startswith("/"):
            raise
        return await work(None)


async def store(session: AgentSession, path: str, chunks: AsyncIterator[bytes]) -> None:
    """``as_owner`` for an upload. The agent refuses within its first window, so that much is held for a second try."""
    held: list[bytes] = []
    size = 0
    try:
        owner, or_root = session.sandbox.user, path.startswith("/")
        async with session.agent.write(path, user=owner, or_root=or_root) as writer:
            async for chunk in chunks:
                size += len(chunk)
                if size <= HELD:
                    held.append(chunk)
                else:
                    held.clear()
                await writer.write(chunk)
    except AccessDenied:
        if not path.startswith("/") or size > HELD:
            raise
        async with session.agent.write(path) as writer:
            for chunk in held:
                await writer.write(chunk)
            async for chunk in chunks:
                await writer.write(chunk)


class Download(StreamingResponse):
    """Bytes from the agent as they come; ``resources`` are released when the last is sent or the client is gone."""

    def __init__(self, chunks: AsyncIterable[bytes], resources: AsyncExitStack) -> None:
        super().__init__(chunks, media_type="application/octet-stream")
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


def required(path: str) -> str:
    if not path or "\0" in path:
        raise InvalidInput("path: must not be empty or contain NUL characters", field="path")
    return path


def entry(info: FileInfo) -> FileEntry:
    """Wrenn knows three kinds; devices, sockets and pipes count as files."""
    return FileEntry(
        name=printable(info.name),
        path=printable(info.path),
        type=EntryType.file if info.kind == "other" else EntryType(info.kind),
        size=info.size,
        mode=info.mode,
        permissions=stat.filemode(TYPE_BITS[info.kind] | info.mode),
        owner=info.owner,
        group=info.group,
        modified_at=int(info.modified_at),
        symlink_target=None if info.target is None else printable(info.target),
    )


def entry_document(info: FileInfo) -> dict[str, Any]:
    return entry(info).model_dump(mode="json", exclude_none=True, by_alias=True)


def printable(text: str) -> str:
    """A name that is not UTF-8 inside, which JSON cannot carry, is shown as near as can be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
