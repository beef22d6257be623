"""What a team has chosen that means something to one API alone, kept under that API's name."""

from collections.abc import Mapping
from typing import Any

from moonpool.access.model import Principal, Scope
from moonpool.access.repository import PreferenceRepository
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.store.database import Store


class PreferenceService:
    """In memory: asking needs no SQL. ``load`` follows what other processes wrote."""

    def __init__(self, store: Store, access: AccessService, clock: Clock) -> None:
        self._store, self._access, self._clock = store, access, clock
        self._repository = PreferenceRepository()
        self._known: dict[tuple[str, str], Mapping[str, Any]] = {}

    async def load(self) -> None:
        async with self._store.reading() as connection:
            self._known = await self._repository.all(connection)

    def of(self, team_id: str, dialect: str) -> Mapping[str, Any]:
        return dict(self._known.get((team_id, dialect), {}))

    async def change(self, principal: Principal, dialect: str, **values: Any) -> None:
        """Of the principal's team; None takes one back. Forbidden for a key that may not do everything."""
        self._access.require(principal, Scope.ADMIN)
        key = (principal.team_id, dialect)
        async with self._store.transaction() as transaction:
            old = await self._repository.find(transaction.connection, *key)
            new = {name: value for name, value in {**old, **values}.items() if value is not None}
            await self._repository.write(transaction, *key, new, self._clock.now())
            transaction.after_commit(lambda: self._known.update({key: new}))
