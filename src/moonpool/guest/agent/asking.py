"""Following a process, and asking it something as soon as it is listened to: a round trip for the whole question."""

import os
import select
from contextlib import closing
from typing import Any

from ..protocol import Stream
from .files import Files
from .output import Reader
from .process import Process
from .processes import Processes, follow
from .request import Request


class Questions:
    def __init__(self, files: Files, processes: Processes) -> None:
        self._files = files
        self._processes = processes

    async def attach(self, stream: Stream, request: Request) -> dict[str, Any]:
        """What the body holds is written to the process's input, and the first event says whether (``asked``): not
        where that would have to wait, nor where the file ``path`` is not as ``seen`` says."""
        process = self._processes.find(request)
        with closing(Reader(process.output, replay=request.flag("replay", True))) as reader:
            told = {"asked": await self._ask(process, request)} if request.body else {}
            return await follow(process, stream, reader, {**process.describe(), **told})

    async def _ask(self, process: Process, request: Request) -> bool:
        if len(request.body) > select.PIPE_BUF:
            return False
        seen = request.optional_text("seen")
        async with process.own_input() as descriptor:
            if descriptor < 0:
                return False
            if seen is None:
                return write_whole(descriptor, request.body)

            def ask(path: str) -> bool:
                # From the thread that looks: going back to the loop first takes as long as the looking.
                return state_of(os.stat(path)) == seen and write_whole(descriptor, request.body)

            try:
                return await self._files.at(request, ask)
            except OSError:
                return False


def write_whole(pipe: int, data: bytes) -> bool:
    """Nothing where it would have to wait: a pipe takes up to PIPE_BUF bytes in one piece."""
    try:
        return os.write(pipe, data) == len(data)
    except OSError:
        return False


def state_of(found: os.stat_result) -> str:
    """What changes with every change of a file, as the client writes it from what it was told."""
    return f"{found.st_ctime} {found.st_mtime} {found.st_size}"
