"""An image as it comes from its registry, a layer after the other through a pipe: skopeo's image proxy, asked in its
own protocol. So nothing is written to a disk before it is unpacked."""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import socket
from dataclasses import dataclass, field
from typing import Any

from moonpool.errors import ImageInvalid

MESSAGE = 64 * 1024  # bytes of an answer
MAX_DOCUMENT = 4 << 20  # bytes
PIPE_SIZE = 1 << 20  # bytes
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ
INITIALIZE = "Initialize"
BROKEN_PIPE = "broken pipe"


class Refused(Exception):
    """What skopeo answered, in its words."""


class Lost(Exception):
    """It has ended, or does not speak this protocol."""


@dataclass
class Proxy:
    """``control`` is the socket that skopeo serves, not blocking; ``image`` what it calls the one that is open."""

    control: socket.socket
    image: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self) -> None:
        """Lost where this skopeo cannot do it."""
        try:
            await self._call(INITIALIZE)
        except Refused as error:
            raise Lost(str(error)) from error

    async def open(self, name: str) -> None:
        self.image, _pipe, _number = await self._call("OpenImage", f"docker://{name}")

    async def manifest(self) -> tuple[bytes, str]:
        """This machine's variant, or what it is in OCI's form, and the digest (sha256:...) of what the registry has."""
        digest, pipe, number = await self._call("GetManifest", self.image)
        return await self._document(pipe, number), str(digest)

    async def document(self, digest: str, size: int) -> bytes:
        """A small part of the image. ImageInvalid."""
        _size, pipe, number = await self._call("GetBlob", self.image, f"sha256:{digest}", size)
        data = await self._document(pipe, number)
        if hashlib.sha256(data).hexdigest() != digest:
            raise ImageInvalid("A part of the image is not what its digest says", hint="Fetch or make it again.")
        return data

    async def hand_over(self, digest: str, size: int, reader: socket.socket) -> None:
        """The pipe that a part comes through goes to whoever is at the other end of ``reader``. When this returns, all
        of it has been read and was what it should be."""
        _size, pipe, number = await self._call("GetBlob", self.image, f"sha256:{digest}", size)
        try:
            with contextlib.suppress(OSError):  # It is only slower then.
                fcntl.fcntl(pipe, SET_PIPE_SIZE, PIPE_SIZE)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # Nobody reads: skopeo will say so.
                socket.send_fds(reader, [b"+"], [pipe])
        finally:
            os.close(pipe)
        await self._call("FinishPipe", number)

    async def _document(self, pipe: int, number: int) -> bytes:
        """The pipe has no end before skopeo was asked to finish it, which it does when all was read."""
        reading = asyncio.create_task(asyncio.to_thread(drained, pipe))
        await self._call("FinishPipe", number)
        return await reading

    async def _call(self, method: str, *arguments: Any) -> tuple[Any, int, int]:
        """The value, the descriptor of a pipe (-1: none) and its number. Refused, Lost."""
        async with self._turn:
            try:
                self.control.send(json.dumps({"method": method, "args": arguments}).encode())
                await readable(self.control)
                data, descriptors, _flags, _address = socket.recv_fds(self.control, MESSAGE, 1)
            except OSError as error:
                raise Lost(str(error)) from error
        pipe = descriptors[0] if descriptors else -1
        try:
            answer = json.loads(data)
            if answer["success"]:
                return answer.get("value"), pipe, int(answer.get("pipeid") or 0)
        except (ValueError, KeyError, TypeError) as error:
            raise Lost("No answer") from error
        raise Refused(str(answer.get("error")))


async def readable(control: socket.socket) -> None:
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(control, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(control)


def drained(pipe: int) -> bytes:
    """All of a small one; ImageInvalid."""
    with open(pipe, "rb") as file:
        data = file.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ImageInvalid(f"A document of the image is larger than {MAX_DOCUMENT} bytes")
    return data
