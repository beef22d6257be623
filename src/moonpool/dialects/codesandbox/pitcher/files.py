"""``fs/*`` but for watching and downloading."""

import asyncio
from typing import Any

from moonpool.dialects.codesandbox.pitcher import archives
from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.paths import resolved
from moonpool.errors import FileExists, FileNotFound, IsADirectory, TooLarge
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileInfo
from moonpool.headroom import ensure_room

FILE, FOLDER = 0, 1
READ_LIMIT = 256 << 20  # bytes of one file in one message; ``fs/download`` has no limit
# New ones belong to the workspace's group as well, and what is made in a folder does too.
SHARED_FILE, SHARED_FOLDER = 0o664, 0o2775
AT_ONCE = 1000  # entries of a folder that are told before others have their turn
PIECE = 1 << 20  # bytes handed to the sandbox at a time


async def read_file(call: Call) -> dict[str, Any]:
    """One at a time for a client, and only once it has taken the last: several would add up in memory."""
    path = resolved(call.grant, call.params.text("path"))
    async with call.client.bulk, call.hub.place.agent() as agent:
        await call.client.outbox.room()
        async with agent.read(path, user=call.grant.user) as reader:
            if reader.info.size > READ_LIMIT:
                raise TooLarge(f"The file is larger than {READ_LIMIT} bytes: download it")
            content = bytearray()
            async for piece in reader:
                content += piece
                ensure_room()
                if len(content) > READ_LIMIT:  # One that has no size, or grows while it is read.
                    raise TooLarge(f"The file is larger than {READ_LIMIT} bytes: download it")
    return {"content": content}


async def write_file(call: Call) -> dict[str, Any]:
    path, content = resolved(call.grant, call.params.text("path")), call.params.content("content")
    create, overwrite = call.params.flag("create"), call.params.flag("overwrite")
    async with call.hub.place.agent() as agent:
        found = await look(agent, call, path)
        if found is None and not create:
            raise FileNotFound(f"No such file: {path}")
        if found is not None and found.kind == "directory":
            raise IsADirectory(f"Is a directory: {path}")
        if found is not None and not overwrite:
            raise FileExists(f"The file exists already: {path}")
        upload = archives.UPLOAD.fullmatch(path) is not None
        view = memoryview(archives.readable(content, call.grant.workspace) if upload else content)
        mode = SHARED_FILE if found is None else None
        async with agent.write(path, mode=mode, parents=True, size=len(view), user=call.grant.user) as writer:
            for start in range(0, len(view), PIECE):
                await writer.write(view[start : start + PIECE])
    return {}


async def read_folder(call: Call) -> dict[str, Any]:
    path = resolved(call.grant, call.params.text("path"))
    async with call.hub.place.agent() as agent:
        entries = await agent.list(path, 1, user=call.grant.user)
    told: list[dict[str, Any]] = []
    for start in range(0, len(entries), AT_ONCE):
        told += ({"name": entry.name, **kind_of(entry)} for entry in entries[start : start + AT_ONCE])
        await asyncio.sleep(0)
    return {"entries": told}


async def show(call: Call) -> dict[str, Any]:
    path = resolved(call.grant, call.params.text("path"))
    async with call.hub.place.agent() as agent:
        info = await agent.stat(path, follow=True, user=call.grant.user)
    moments = {"mtime": info.modified_at, "ctime": info.changed_at, "atime": info.accessed_at}
    times = {name: round(at * 1000) for name, at in moments.items()}
    return {**kind_of(info), "size": info.size, **times}


async def make_folder(call: Call) -> dict[str, Any]:
    path, recursive = resolved(call.grant, call.params.text("path")), call.params.flag("recursive")
    async with call.hub.place.agent() as agent:
        await agent.mkdir(path, SHARED_FOLDER, parents=recursive, exist_ok=recursive, user=call.grant.user)
    return {}


async def remove(call: Call) -> dict[str, Any]:
    path, recursive = resolved(call.grant, call.params.text("path")), call.params.flag("recursive")
    async with call.hub.place.agent() as agent:
        await agent.remove(path, recursive=recursive, user=call.grant.user)
    return {}


async def rename(call: Call) -> dict[str, Any]:
    """The SDK's own default is not to overwrite, and it never sends what its caller wished instead."""
    source, target = (resolved(call.grant, call.params.text(name)) for name in ("from", "to"))
    overwrite = call.params.flag("overwrite")
    async with call.hub.place.agent() as agent:
        await agent.move(source, target, overwrite=overwrite, user=call.grant.user)
    return {}


async def copy(call: Call) -> dict[str, Any]:
    source, target = (resolved(call.grant, call.params.text(name)) for name in ("from", "to"))
    recursive, overwrite = call.params.flag("recursive"), call.params.flag("overwrite")
    async with call.hub.place.agent() as agent:
        await agent.copy(source, target, recursive, overwrite=overwrite, user=call.grant.user)
    return {}


async def look(agent: AgentClient, call: Call, path: str) -> FileInfo | None:
    """What is there; a link that leads nowhere is something, too."""
    try:
        info = await agent.stat(path, follow=False, user=call.grant.user)
        return await agent.stat(path, user=call.grant.user) if info.target_kind is not None else info
    except FileNotFound:
        return None


def kind_of(info: FileInfo) -> dict[str, Any]:
    """A link counts as what it leads to."""
    kind = info.target_kind if info.kind == "symlink" else info.kind
    return {"type": FOLDER if kind == "directory" else FILE, "isSymlink": info.target is not None}
