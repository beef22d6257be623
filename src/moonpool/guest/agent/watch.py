"""Telling a client what happens to files, for as long as it listens."""

import asyncio
import json
from collections import deque
from functools import partial

from ..protocol import EVENT, Stream, encode
from .files import Files
from .inotify import MOVED_FROM, Q_OVERFLOW, Record
from .request import Request, check_path
from .tree import Events, Tree
from .workers import Workers

GATHER = 0.01  # seconds after a change in which more of them are gathered
PER_SECOND = 20_000  # events told at most: a program that does nothing but make them must not keep the server busy
MAX_WAITING = 16_384  # records kept for a client that does not read; the kernel's own limit, which gVisor lacks
MAX_EXCLUDES = 256


class Watches:
    def __init__(self, files: Files, workers: Workers) -> None:
        self._files, self._workers = files, workers

    async def watch(self, stream: Stream, request: Request) -> None:
        """An EVENT when the watch is there; then events as lines of JSON, in DATA, until what is watched is gone."""
        user = self._files.user(request)
        path = check_path(user.resolve(request.path("path")))
        excludes = request.texts("excludes")[:MAX_EXCLUDES]
        tree = Tree(path, recursive=request.flag("recursive"), excludes=excludes)
        loop, waiting = asyncio.get_running_loop(), Waiting(tree)
        try:
            await self._workers.call(user, tree.begin, tree.stop)
            stream.connection.send_message(EVENT, stream.number, encode({"path": tree.path}))
            loop.add_reader(tree.inotify.descriptor, waiting.read)
            while not tree.over:
                records = await waiting.gather()
                if tree.needs_disk(records):
                    events = await self._workers.call(user, partial(tree.translate, records), tree.stop)
                else:
                    events = tree.translate(records)
                if events:
                    await stream.send_data(_lines(events))
                    await asyncio.sleep(len(events) / PER_SECOND)
        finally:
            loop.remove_reader(tree.inotify.descriptor)
            tree.close()


class Waiting:
    """Records that have been read from the kernel and not been looked at yet: bounded, for the kernel's are not."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._records: deque[Record] = deque()
        self._lost = False
        self._some = asyncio.Event()

    def read(self) -> None:
        """Called whenever the kernel has something."""
        for record in self._tree.inotify.read():
            if len(self._records) < MAX_WAITING:
                self._records.append(record)
            else:
                self._lost = True
        if self._records:
            self._some.set()

    async def gather(self) -> list[Record]:
        """What has come, with what follows it at once, and both halves of a move. A new folder cannot wait."""
        await self._some.wait()
        if not self._tree.needs_disk(self._records):
            await asyncio.sleep(GATHER)
            self.read()
        if self._records[-1].mask & MOVED_FROM:
            await asyncio.sleep(GATHER)
            self.read()
        records = list(self._records)
        if self._lost:
            records.append(Record(-1, Q_OVERFLOW, 0, ""))
        self._records.clear()
        self._lost = False
        self._some.clear()
        return records


def _lines(events: Events) -> bytes:
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)
