"""Keys of connected clients, looked after once for all who came with the same one: each client by itself would ask the
database every few seconds, and all of them at once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from moonpool.access.model import Principal
from moonpool.access.service import AccessService
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.errors import Forbidden

Key = tuple[str, str]  # a team's id and a key's


class Watched:
    """One key. ``outcome``: what it may do, or why it may nothing; None until it is known. ``news`` is set, and another
    one put in its place, when that may have changed."""

    def __init__(self) -> None:
        self.outcome: Principal | Exception | None = None
        self.news = asyncio.Event()
        self.clients = 0
        self.task: asyncio.Task[None]

    def tell(self, outcome: Principal | Exception) -> None:
        self.outcome, told = outcome, self.news
        self.news = asyncio.Event()
        told.set()


class Keys:
    def __init__(self, access: AccessService) -> None:
        self._access = access
        self._watched: dict[Key, Watched] = {}

    async def outlive(self, grant: Grant) -> None:
        """Raises Unauthorized, KeyExpired or Forbidden once the grant's key allows it less than it did."""
        if grant.key_id is None:
            await asyncio.Event().wait()
            return
        with self._watching((grant.team_id, grant.key_id)) as watched:
            while True:
                news = watched.news
                # What is known may be older than the grant, so each client that may have to go asks for itself.
                if not allows(watched.outcome, grant) and await grant.confirmed(self._access) != grant:
                    raise Forbidden
                await news.wait()

    @contextmanager
    def _watching(self, key: Key) -> Iterator[Watched]:
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = Watched()
            watched.task = asyncio.create_task(self._watch(key, watched), name="a key of connected clients")
        watched.clients += 1
        try:
            yield watched
        finally:
            watched.clients -= 1
            if not watched.clients:
                watched.task.cancel()
                del self._watched[key]

    async def _watch(self, key: Key, watched: Watched) -> None:
        """Until nobody is there any more."""
        team_id, key_id = key
        while True:
            changing = asyncio.create_task(self._access.changed(key_id))
            try:
                await asyncio.sleep(0)  # It listens before the key is read, so that no change is missed in between.
                watched.tell(await self._outcome(team_id, key_id))
                await changing
            finally:
                changing.cancel()

    async def _outcome(self, team_id: str, key_id: str) -> Principal | Exception:
        try:
            return await self._access.still(team_id, key_id)
        except Exception as error:  # noqa: BLE001 - this task's edge: clients must not be left with what was
            return error


def allows(outcome: Principal | Exception | None, grant: Grant) -> bool:
    """Whether the key is known to allow all that the grant says; nothing known yet is nothing against it."""
    if outcome is None:
        return True
    try:
        return isinstance(outcome, Principal) and grant.under(outcome) == grant
    except Forbidden:
        return False
