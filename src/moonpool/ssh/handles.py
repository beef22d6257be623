"""Open files of SFTP. Its clients ask for small pieces, many at once; the agent is asked for large ones in order."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from moonpool.errors import InvalidInput, IsADirectory
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileInfo
from moonpool.guest.streams import FileWriter

BLOCK = 1 << 20  # bytes that are read at once
KEPT = 3  # blocks
MOST_AT_ONCE = 4 << 20  # bytes of one answer
MAX_AHEAD = 16 << 20  # bytes that have come before those that are to be written first

Visit = Callable[[], AbstractAsyncContextManager[tuple[AgentClient, str]]]
After = Callable[[str], Awaitable[None]]


class ReadHandle:
    def __init__(self, visit: Visit, info: FileInfo) -> None:
        self.info = info
        self._visit = visit
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, visit: Visit, path: str) -> "ReadHandle":
        async with visit() as (agent, user):
            info = await agent.stat(path, user=user)
            if info.kind == "directory":
                raise IsADirectory
            async with agent.read(path, 0, 1, user=user):
                pass  # Whether it may be read is told now.
        return cls(visit, info)

    async def read(self, offset: int, size: int) -> bytes:
        """All of it, but at the end of the file: where less comes, OpenSSH's sftp asks for a few bytes at a time from
        then on. Empty at the end."""
        pieces, size = [], min(size, MOST_AT_ONCE)
        while size > 0:
            number, start = divmod(offset, BLOCK)
            block = await self._block(number)
            piece = block[start : start + size]
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
            if len(block) < BLOCK:
                break
        return b"".join(pieces)

    async def _block(self, number: int) -> bytes:
        async with self._lock:
            found = self._blocks.get(number)
            if found is None:
                async with (
                    self._visit() as (agent, user),
                    agent.read(self.info.path, number * BLOCK, BLOCK, user=user) as reader,
                ):
                    found = b"".join([piece async for piece in reader])
                if len(found) == BLOCK:  # The last one may still grow.
                    self._blocks[number] = found
                    if len(self._blocks) > KEPT:
                        self._blocks.popitem(last=False)
            return found


class WriteHandle:
    """Written from its beginning, or on from the ``keep`` bytes that it has; not in the middle. A new one appears,
    whole, when it is closed."""

    def __init__(self, path: str, mode: int | None, keep: int, append: bool) -> None:
        self.path, self.mode = path, mode
        self.size = keep
        self._append = append
        self._stack = AsyncExitStack()
        self._writer: FileWriter | None = None
        self._waiting: dict[int, bytes] = {}
        self._lock = asyncio.Lock()
        self._after: list[After] = []

    @classmethod
    async def open(cls, visit: Visit, path: str, mode: int | None, keep: int, *, append: bool) -> "WriteHandle":
        handle = cls(path, mode, keep, append)
        agent, user = await handle._stack.enter_async_context(visit())
        try:
            writing = agent.write(path, mode=mode, parents=False, append=keep > 0 or append, user=user)
            handle._writer = await handle._stack.enter_async_context(writing)
        except BaseException:
            await handle._stack.aclose()
            raise
        return handle

    async def write(self, offset: int, data: bytes) -> int:
        """InvalidInput for a piece in the middle of what is there."""
        async with self._lock:
            if self._append:
                await self._put(data)
                return len(data)
            if offset < self.size:
                raise InvalidInput("Files can be written from their beginning or on from their end, not in the middle")
            self._waiting[offset] = data
            if sum(map(len, self._waiting.values())) > MAX_AHEAD:
                raise InvalidInput("A gap in what is written")
            while (piece := self._waiting.pop(self.size, None)) is not None:
                await self._put(piece)
        return len(data)

    async def _put(self, data: bytes) -> None:
        assert self._writer is not None
        await self._writer.write(data)
        self.size += len(data)

    def when_closed(self, work: After) -> None:
        self._after.append(work)

    async def close(self) -> None:
        if self._waiting:
            await self.give_up()
            raise InvalidInput("A gap in what was written")
        await self._stack.aclose()
        for work in self._after:
            await work(self.path)

    async def give_up(self) -> None:
        """Nothing of a new file is left."""
        error = InvalidInput("given up")
        await self._stack.__aexit__(type(error), error, None)
