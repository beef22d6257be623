"""Every receiver, in memory as in the database: matching an event to them needs no SQL."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from moonpool.deliveries.model import Kind, Receiver
from moonpool.deliveries.repository import DeliveryRepository, ReceiverRepository
from moonpool.errors import LimitExceeded, ReceiverNotFound
from moonpool.store.database import Store, Transaction
from moonpool.vault import Box

MOST = 100  # receivers of each kind of one team


class ReceiverBook:
    def __init__(self, store: Store, box: Box) -> None:
        self._store = store
        self._box = box
        self._repository = ReceiverRepository()
        self._deliveries = DeliveryRepository()
        self._known: dict[str, Receiver] = {}

    async def load(self) -> None:
        async with self._store.reading() as connection:
            self._known = {receiver.id: receiver for receiver in await self._repository.all(connection)}

    def get(self, receiver_id: str) -> Receiver | None:
        return self._known.get(receiver_id)

    def all(self) -> Iterable[Receiver]:
        return self._known.values()

    def of(self, team_id: str, kind: Kind) -> list[Receiver]:
        """The oldest first."""
        found = [one for one in self._known.values() if one.team_id == team_id and one.kind is kind]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def find(self, team_id: str, kind: Kind, receiver_id: str) -> Receiver:
        """ReceiverNotFound for another team's, too."""
        found = self._known.get(receiver_id)
        if found is None or found.team_id != team_id or found.kind is not kind:
            raise ReceiverNotFound(f"There is no such {kind}")
        return found

    async def add(self, receiver: Receiver) -> None:
        """NameTaken; LimitExceeded beyond ``MOST``."""
        async with self._store.transaction() as transaction:
            if len(self.of(receiver.team_id, receiver.kind)) >= MOST:
                raise LimitExceeded(f"A team has at most {MOST} of these", field="name", hint="Delete some of them.")
            await self._repository.insert(transaction, receiver)
            transaction.after_commit(lambda: self._remember(receiver))

    async def write(self, receiver: Receiver) -> Receiver:
        """NameTaken."""
        async with self._store.transaction() as transaction:
            await self.put(transaction, receiver)
        return receiver

    async def put(self, transaction: Transaction, receiver: Receiver) -> None:
        await self._repository.write(transaction, receiver)
        transaction.after_commit(lambda: self._remember(receiver))

    async def remove(self, receiver: Receiver) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, receiver)
            transaction.after_commit(lambda: self._forget(receiver.id))

    async def disable(self, transaction: Transaction, receiver: Receiver, reason: str, now: datetime) -> None:
        """What is pending for it is given up."""
        ended = replace(receiver, enabled=False, disabled_reason=reason, updated_at=now)
        await self.put(transaction, ended)
        await self._deliveries.give_up(transaction, receiver.id, now)

    def seal(self, config: dict[str, str]) -> str:
        return self._box.seal(json.dumps(config))

    def open(self, receiver: Receiver) -> dict[str, str]:
        """EngineError where the server's secret key has changed."""
        opened: dict[str, str] = json.loads(self._box.open(receiver.config))
        return opened

    def _remember(self, receiver: Receiver) -> None:
        self._known[receiver.id] = receiver

    def _forget(self, receiver_id: str) -> None:
        self._known.pop(receiver_id, None)
