"""The order in which two or more files of a folder grow: which of a command's outputs was written before which.

The kernel tells in order which file was written to, but not how much, and writes that follow each other in one file as
one. So what is kept is a list of rounds: the files that were written to, in order, and by how much each had grown when
the agent looked.
"""

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..protocol import Stream
from .errors import AgentError
from .files import Files
from .inotify import IGNORED, MODIFY, ONLY_FOLDERS, Inotify, Record
from .privileges import file_rights
from .request import Request, check_path

PAUSE = 0.002  # seconds between two looks: a flood of output must not keep the agent busy
MOST_FOLDERS = 512
MOST_ROUNDS = 100_000  # of all folders together
MOST_NAMES = 8
MOST_READS = 16  # at one look
MOST_COUNTED = 16 * 1024  # bytes of a file's growth whose lines are counted
MOST_SWITCHES = 4096  # from file to file in one round, and the next ones are not told apart
Round = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass
class Kept:
    """A folder's files, how large they were, and the rounds: indices of files in order, and bytes of each file."""

    folder: str
    names: tuple[str, ...]
    sizes: list[int] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    untold: tuple[int, ...] = ()  # files of the last round with more lines in it than the kernel told of

    def measure(self) -> None:
        self.measured = [
            max(_size(f"{self.folder}/{name}"), known) for name, known in zip(self.names, self.sizes, strict=True)
        ]

    def grow(self, order: Sequence[int]) -> bool:
        """Note that these files were written to before they were measured; whether that is another round.

        A file is longer a moment before the kernel tells of it, and a writer may be stopped in that moment. What is
        told of first may thus be what was counted in the last round.
        """
        before, self.sizes = self.sizes, self.measured
        grown = tuple(size - known for size, known in zip(self.sizes, before, strict=True))
        if not any(grown):
            if self.rounds:
                counted = self.rounds[-1][1]
                self._told_late([index for index in order if counted[index]])
            return False
        lines = [self._lines(index, before[index], count) for index, count in enumerate(grown)]
        if order[0] in self.untold and lines[order[0]] < order.count(order[0]):
            self._told_late(order[:1])
            order = order[1:]
        self.rounds.append((tuple(order[:MOST_SWITCHES]), grown))
        self.untold = tuple(index for index, count in enumerate(lines) if order.count(index) < count)
        return True

    def _told_late(self, order: Sequence[int]) -> None:
        last, counted = self.rounds[-1]
        self.rounds[-1] = _joined(last, order)[:MOST_SWITCHES], counted
        self.untold = tuple(index for index in self.untold if index not in order)

    def _lines(self, index: int, start: int, count: int) -> int:
        """How many lines the file grew by; of much, whether it grew."""
        if not 0 < count <= MOST_COUNTED:
            return min(count, 1)
        try:
            data = _part(f"{self.folder}/{self.names[index]}", start, count)
        except OSError:
            return 1
        return data.count(b"\n") + (not data.endswith(b"\n"))


class Orders:
    def __init__(self, files: Files) -> None:
        self._files = files
        self._inotify: Inotify | None = None
        self._kept: dict[int, Kept] = {}  # by number of the watch, in the order in which they began
        self._rounds = 0
        self._reading = False

    async def keep_order(self, stream: Stream, request: Request) -> None:
        """From now on, of the files `names` in the folder `path`, until that is removed or too many others are kept."""
        user = self._files.user(request)
        folder = check_path(user.resolve(request.path("path")))
        names = tuple(request.texts("names")[:MOST_NAMES])
        if any("/" in name for name in names):
            raise AgentError("invalid_input", "names: a path")
        if self._inotify is None:
            self._inotify = Inotify()
        with file_rights(user):
            number = self._inotify.add(folder, MODIFY | ONLY_FOLDERS)
        self._forget(number)
        self._kept[number] = Kept(folder, names, [_size(f"{folder}/{name}") for name in names])
        if len(self._kept) > MOST_FOLDERS:
            self._drop(next(iter(self._kept)))
        self._listen()

    async def order(self, stream: Stream, request: Request) -> dict[str, Any]:
        """The rounds so far, without the first `since`; none of a folder of which nothing is kept."""
        user = self._files.user(request)
        folder = check_path(user.resolve(request.path("path")))
        self._look()
        kept = next((one for one in self._kept.values() if one.folder == folder), None)
        return {"rounds": kept.rounds[request.integer("since", 0, 1 << 40, 0) :] if kept else []}

    # -- what the kernel tells --------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._inotify is not None and not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._inotify.descriptor, self._readable)

    def _readable(self) -> None:
        assert self._inotify is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._inotify.descriptor)
        self._reading = False
        self._look()
        loop.call_later(PAUSE, self._listen)

    def _look(self) -> None:
        """What is written between a look at the sizes and the next question to the kernel is in one round with what
        came before: nobody knows to which of the two it belongs."""
        orders: dict[int, tuple[int, ...]] = {}
        for _ in range(MOST_READS):
            records = self._inotify.read() if self._inotify is not None else []
            if not records:
                break
            for number, order in _sorted(records, self._kept).items():
                orders[number] = _joined(orders.get(number, ()), order)
                self._kept[number].measure()
            for record in records:
                if record.mask & IGNORED:
                    self._forget(record.watch)
        for number, told in orders.items():
            if number in self._kept:
                self._rounds += self._kept[number].grow(told)
        while self._rounds > MOST_ROUNDS:
            self._drop(next(number for number, kept in self._kept.items() if kept.rounds))

    def _drop(self, number: int) -> None:
        self._forget(number)
        if self._inotify is not None:
            self._inotify.remove(number)

    def _forget(self, number: int) -> None:
        kept = self._kept.pop(number, None)
        self._rounds -= len(kept.rounds) if kept else 0


def _sorted(records: Sequence[Record], kept: dict[int, Kept]) -> dict[int, list[int]]:
    """Indices of the files written to, in order, by watch."""
    orders: dict[int, list[int]] = {}
    for record in records:
        one = kept.get(record.watch)
        if one is not None and record.mask & MODIFY and record.name in one.names:
            orders.setdefault(record.watch, []).append(one.names.index(record.name))
    return orders


def _joined(before: tuple[int, ...], after: Sequence[int]) -> tuple[int, ...]:
    """One after the other; what follows itself is one."""
    found = list(before)
    for index in after:
        if found[-1:] != [index]:
            found.append(index)
    return tuple(found)


def _size(path: str) -> int:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _part(path: str, start: int, count: int) -> bytes:
    """Of a file that may have become something else by now: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, count, start)
    finally:
        os.close(descriptor)
