"""A durable reader of the outbox: what it took is taken in the same transaction as what it made of it."""

from collections.abc import Callable

from moonpool.events.model import Event
from moonpool.events.repository import EventRepository
from moonpool.store.database import Store, Transaction

PAGE = 200  # events taken at once


class Consumer:
    """Events stay until every consumer has taken them, however old they are."""

    def __init__(self, name: str, store: Store, live: Callable[[], int]) -> None:
        self._name = name
        self._store = store
        self._live = live
        self._repository = EventRepository()
        self._position = 0
        self._saved = 0

    async def start(self) -> None:
        """Where an earlier run stopped; a new consumer begins with what happens from now on."""
        async with self._store.reading() as connection:
            known = await self._repository.position(connection, self._name)
        self._position = self._live() if known is None else known
        self._saved = self._position
        if known is None:
            async with self._store.transaction() as transaction:
                await self._repository.save_cursor(transaction, self._position, self._name)

    @property
    def is_behind(self) -> bool:
        return self._position < self._live()

    async def next(self) -> list[Event]:
        """The oldest events that were not taken yet; none: it has them all."""
        if not self.is_behind:
            return []
        async with self._store.reading() as connection:
            return await self._repository.after(connection, self._position, None, PAGE)

    async def take(self, transaction: Transaction, event_id: int) -> None:
        """All up to this one, with the transaction's commit."""
        await self._repository.save_cursor(transaction, event_id, self._name)
        transaction.after_commit(lambda: self._taken(event_id))

    def skip(self) -> None:
        """All there are, for nothing was to be made of them; noted at the next ``save``."""
        self._position = max(self._position, self._live())

    async def save(self) -> None:
        if self._saved >= self._position:
            return
        position = self._position
        async with self._store.transaction() as transaction:
            await self._repository.save_cursor(transaction, position, self._name)
        self._saved = position

    def _taken(self, event_id: int) -> None:
        self._position = self._saved = max(self._position, event_id)
