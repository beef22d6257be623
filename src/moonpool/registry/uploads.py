"""Parts of images on their way in: a file each, gone on with where a connection, or the server, ended."""

import asyncio
import errno
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from moonpool.durability import sync
from moonpool.errors import LimitExceeded, NoDiskSpace, TooLarge
from moonpool.hosts.threads import Threads
from moonpool.registry.errors import DigestInvalid, OutOfOrder, UploadNotFound
from moonpool.registry.folder import TeamFolder, make_folder, names_in, size_of, weight

ID = re.compile(r"[0-9a-f]{32}")
PIECE = 512 * 1024  # bytes that are written at once
RESERVE = 512 << 20  # bytes of the disk that are left to others
FULL = (errno.ENOSPC, errno.EDQUOT)

Charge = Callable[[int], Awaitable[None]]
"""Asked before bytes are kept; LimitExceeded."""


class Session:
    """An upload's file and the hash of what is in it. Methods block; a thread whose request was given up in between
    changes nothing that a later one relies on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        if size_of(path):
            self._read_again()

    def _read_again(self) -> None:
        """Of an earlier server's. A hash cannot be kept over its end, the file can."""
        with open(self.path, "rb") as file:
            while data := file.read(PIECE):
                self._hash.update(data)
                self.size += len(data)

    def append(self, data: bytes | bytearray, at: int) -> None:
        """OutOfOrder, NoDiskSpace."""
        with self._lock:
            if at != self.size:
                raise OutOfOrder(self.size)
            if shutil.disk_usage(self.path.parent).free < len(data) + RESERVE:
                raise NoDiskSpace
            self._write(data)
            self._hash.update(data)
            self.size += len(data)

    def _write(self, data: bytes | bytearray) -> None:
        try:
            with open(self.path, "r+b", buffering=0) as file:
                file.seek(self.size)
                view = memoryview(data)
                while len(view):
                    view = view[file.write(view) or 0 :]
        except FileNotFoundError as error:
            raise UploadNotFound from error
        except OSError as error:
            os.truncate(self.path, self.size)
            if error.errno in FULL:
                raise NoDiskSpace from error
            raise

    def seal(self, digest: str) -> None:
        """What was uploaded is on disk, and is what it should be: DigestInvalid."""
        with self._lock:
            if self._hash.hexdigest() != digest:
                raise DigestInvalid
            sync(self.path)


class Uploads:
    """Of all teams. ``most`` bytes of one, ``at_once`` of one team."""

    def __init__(self, threads: Threads, most: int, at_once: int) -> None:
        self._threads = threads
        self._most, self._at_once = most, at_once
        self._sessions: dict[Path, Session] = {}

    async def begin(self, folder: TeamFolder) -> str:
        """Its id. LimitExceeded."""
        upload = secrets.token_hex(16)
        path = folder.uploads / upload
        await self._threads.run(self._create, path)
        self._sessions[path] = Session(path)
        return upload

    def _create(self, path: Path) -> None:
        make_folder(path.parent)
        if len(names_in(path.parent)) >= self._at_once:
            message = f"{self._at_once} uploads are open, as many as may be"
            raise LimitExceeded(message, hint="Finish or cancel some; those left alone end after a day.")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    async def find(self, folder: TeamFolder, upload: str) -> Session:
        """UploadNotFound."""
        path = folder.uploads / upload
        if not ID.fullmatch(upload) or not path.is_file():
            self._sessions.pop(path, None)
            raise UploadNotFound
        if path not in self._sessions:
            found = await self._threads.run(Session, path)
            self._sessions.setdefault(path, found)  # Another request may have looked meanwhile, and gone on with it.
        return self._sessions[path]

    async def receive(self, session: Session, content: AsyncIterator[bytes], charge: Charge) -> None:
        """To its end; what had come before a failure stays. One piece is written while the next one comes. TooLarge,
        LimitExceeded, NoDiskSpace, OutOfOrder."""
        at, gathered = session.size, bytearray()
        writing: asyncio.Future[None] | None = None
        try:
            async for data in content:
                gathered += data
                if len(gathered) < PIECE:
                    continue
                if writing is not None:
                    await asyncio.shield(writing)
                writing = await self._write(session, gathered, at, charge)
                at, gathered = at + len(gathered), bytearray()
            if writing is not None:
                await asyncio.shield(writing)
            if gathered:
                writing = await self._write(session, gathered, at, charge)
                await asyncio.shield(writing)
        finally:
            if writing is not None:  # The thread goes on in any case.
                await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, session: Session, data: bytearray, at: int, charge: Charge) -> "asyncio.Future[None]":
        if at + len(data) > self._most:
            raise TooLarge(f"A part of an image has at most {self._most} bytes")
        await charge(len(data))
        return asyncio.ensure_future(self._threads.run(session.append, data, at))

    async def seal(self, session: Session, digest: str) -> None:
        """All of it is on disk. DigestInvalid: it is something else, and gone."""
        try:
            await self._threads.run(session.seal, digest)
        except DigestInvalid:
            await self.drop(session)
            raise

    async def publish(self, session: Session, folder: TeamFolder, digest: str) -> None:
        """A sealed one becomes the part of that digest."""
        await self._threads.run(folder.add_blob, session.path, digest)
        self._sessions.pop(session.path, None)

    async def drop(self, session: Session) -> int:
        """What it counted for."""
        self._sessions.pop(session.path, None)
        await self._threads.run(session.path.unlink, missing_ok=True)
        return weight(session.size)

    def forget_gone(self) -> None:
        """Those whose files are no more."""
        for path in [path for path in self._sessions if not path.exists()]:
            del self._sessions[path]
