"""When keys were last used: noted in memory, written in batches, so that no request waits for it."""

import asyncio
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from moonpool.access.model import ApiKey
from moonpool.access.repository import AccessRepository
from moonpool.clock import Clock
from moonpool.store.database import Store

FLUSH_AFTER = 30.0  # seconds between a key's use and its writing

log = structlog.get_logger(__name__)


class KeyUsage:
    def __init__(self, store: Store, repository: AccessRepository, clock: Clock) -> None:
        self._store = store
        self._repository = repository
        self._clock = clock
        self._used: dict[str, datetime] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()

    def note(self, key_id: str) -> None:
        """The key was used now."""
        self._used[key_id] = self._clock.now()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._begin)

    def fresh(self, key: ApiKey) -> ApiKey:
        """The key with what is known here and not written yet."""
        used = self._used.get(key.id)
        return key if used is None else replace(key, last_used_at=used)

    async def flush(self) -> None:
        """Write what was noted. It is written at a later flush when the database refuses now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with self._store.transaction() as transaction:
                await self._repository.note_usage(transaction, used)
        except SQLAlchemyError as error:
            self._used = used | self._used
            log.warning("key_usage_not_written", error=type(error).__name__)

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self.flush())
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)
