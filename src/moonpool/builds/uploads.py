"""Contexts on their way in: whole files at once, or in parts; nothing is there before it is whole."""

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from moonpool.builds.contexts import Contexts
from moonpool.errors import InvalidInput, NotFound, TooLarge

PARTS = ".parts"
ID = re.compile(r"[0-9a-f]{32}")
MAX_PARTS = 10_000
COPY = 1 << 20  # bytes
OLDEST = 24 * 3600.0  # seconds that an upload in parts may take


class Uploads:
    """``most`` bytes of one context, ``all`` of one team's together."""

    def __init__(self, contexts: Contexts, most: int, all: int) -> None:
        self._contexts, self._most, self._all = contexts, most, all

    async def put(self, team_id: str, name: str, content: AsyncIterator[bytes]) -> str:
        """The whole of it; its MD5 (hexadecimal), which S3's clients want to see. TooLarge."""
        target = self._contexts.path(team_id, name)
        room = await self._room(team_id)
        return await self._receive(target, content, room)

    async def begin(self, team_id: str, name: str) -> str:
        """The id of an upload in parts."""
        upload = secrets.token_hex(16)
        folder = self._folder(team_id, name, upload)
        await asyncio.to_thread(folder.mkdir, parents=True, mode=0o700)
        return upload

    async def part(self, team_id: str, name: str, upload: str, number: int, content: AsyncIterator[bytes]) -> str:
        folder = self._known(team_id, name, upload)
        if not 1 <= number <= MAX_PARTS:
            raise InvalidInput(f"Parts are numbered from 1 to {MAX_PARTS}", field="partNumber")
        room = await self._room(team_id) - sum(path.stat().st_size for path in folder.iterdir())
        return await self._receive(folder / str(number), content, room)

    async def complete(self, team_id: str, name: str, upload: str, parts: Sequence[int]) -> None:
        """All of its parts, in that order, become the context."""
        folder = self._known(team_id, name, upload)
        paths = [folder / str(number) for number in parts]
        if not paths or not all(path.is_file() for path in paths):
            raise InvalidInput("A part is missing", field="parts")
        await asyncio.to_thread(self._join, paths, self._contexts.path(team_id, name))
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def abort(self, team_id: str, name: str, upload: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._known(team_id, name, upload), ignore_errors=True)

    def prune(self) -> None:
        """Blocking. Removes what was begun and never finished."""
        for folder in self._contexts.folder.glob(f"*/*/{PARTS}/*"):
            if folder.stat().st_mtime < time.time() - OLDEST:
                shutil.rmtree(folder, ignore_errors=True)

    async def _room(self, team_id: str) -> int:
        used = await asyncio.to_thread(self._contexts.size, team_id)
        return min(self._most, self._all - used)

    async def _receive(self, target: Path, content: AsyncIterator[bytes], room: int) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
        fresh = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
        try:
            with open(fresh, "xb") as file:  # noqa: ASYNC230 - local, and written in threads
                async for data in content:
                    room -= len(data)
                    if room < 0:
                        raise TooLarge("The files of a build are larger than allowed")
                    digest.update(data)
                    await asyncio.to_thread(file.write, data)
            os.replace(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
        return digest.hexdigest()

    def _join(self, paths: Sequence[Path], target: Path) -> None:
        fresh = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
        try:
            with open(fresh, "xb") as whole:
                for path in paths:
                    with open(path, "rb") as part:
                        shutil.copyfileobj(part, whole, COPY)
            os.replace(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)

    def _folder(self, team_id: str, name: str, upload: str) -> Path:
        return self._contexts.path(team_id, name).parent / PARTS / upload

    def _known(self, team_id: str, name: str, upload: str) -> Path:
        folder = self._folder(team_id, name, upload)
        if not ID.fullmatch(upload) or not folder.is_dir():
            raise NotFound("There is no such upload")
        return folder
