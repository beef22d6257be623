"""Ports and sockets inside on which somebody outside listens: each connection is taken by a stream of its own."""

import asyncio
import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from ..protocol import CHUNK, EVENT, Stream, encode
from .errors import AgentError
from .network import exchange
from .request import Request
from .users import User, Users

LOOPBACK = ("127.0.0.1", "::1")
FIRST_OF_ALL = 1024  # ports below are root's
TAKE_TIMEOUT = 30.0  # seconds in which a connection has to be taken, else it is closed
MAX_WAITING = 64  # connections that nobody has taken yet; what comes then is closed at once
SOCKET = "agent"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Listeners:
    """What is listened on ends with the stream that asked for it; connections that were taken go on."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._waiting: dict[int, Connection] = {}
        self._numbers = itertools.count(1)

    async def listen(self, stream: Stream, request: Request) -> None:
        """On a port of loopback (0: one that is free), which is told, and then the number of each connection."""
        port, user = request.integer("port", 0, 0xFFFF), self._users.find(request.optional_text("user"))
        if 0 < port < FIRST_OF_ALL and user.uid != 0:
            raise AgentError("access_denied", f"ports below {FIRST_OF_ALL} are root's")
        servers = [await asyncio.start_server(self._came(stream), LOOPBACK[0], port, limit=CHUNK)]
        try:
            port = servers[0].sockets[0].getsockname()[1]
            with contextlib.suppress(OSError):  # There may be no IPv6.
                servers.append(await asyncio.start_server(self._came(stream), LOOPBACK[1], port, limit=CHUNK))
            await self._listening(stream, {"port": port})
        finally:
            for server in servers:
                server.close()

    async def listen_privately(self, stream: Stream, request: Request) -> None:
        """On a socket that this user alone reaches: its path is told, and then the number of each connection."""
        with private_folder(self._users.find(request.optional_text("user"))) as (folder, own):
            path = os.path.join(folder, SOCKET)
            server = await asyncio.start_unix_server(self._came(stream), path, limit=CHUNK)
            try:
                own(path)
                await self._listening(stream, {"path": path})
            finally:
                server.close()

    async def _listening(self, stream: Stream, where: dict[str, Any]) -> None:
        stream.connection.send_message(EVENT, stream.number, encode(where))
        await asyncio.get_running_loop().create_future()  # until the operation is cancelled

    def _came(self, stream: Stream) -> Any:
        async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._waiting) >= MAX_WAITING or stream.error is not None:
                writer.transport.abort()
                return
            number = next(self._numbers)
            self._waiting[number] = reader, writer
            asyncio.get_running_loop().call_later(TAKE_TIMEOUT, self._forget, number)
            stream.connection.send_message(EVENT, stream.number, encode({"connection": number}))

        return came

    def _forget(self, number: int) -> None:
        if (waiting := self._waiting.pop(number, None)) is not None:
            waiting[1].transport.abort()

    async def take(self, stream: Stream, request: Request) -> dict[str, Any]:
        """The bytes of a connection that was told of, both ways, as of one that was dialled."""
        waiting = self._waiting.pop(request.integer("connection", 1, 1 << 53), None)
        if waiting is None:
            raise AgentError("port_closed", "this connection is not there any more")
        stream.connection.send_message(EVENT, stream.number, encode({}))
        return await exchange(stream, *waiting)


@contextlib.contextmanager
def private_folder(user: User) -> Iterator[tuple[str, Any]]:
    """A new folder, and what gives a socket in it, and then the folder itself, to ``user``. At the end both go,
    whatever the user has made of the path."""
    folder = tempfile.mkdtemp(prefix="ssh-", dir="/tmp")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def own(path: str) -> None:
        os.chown(path, user.uid, user.gid)
        os.fchown(handle, user.uid, user.gid)

    try:
        yield folder, own
    finally:
        with contextlib.suppress(OSError):
            os.unlink(SOCKET, dir_fd=handle)
        os.close(handle)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
