"""Use cases of warm pools: machines kept ready for a team's creates, beside those that the server keeps anyway."""

from collections.abc import Callable
from dataclasses import replace

from moonpool.access.limits import LimitBook
from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, LimitExceeded, NotFound, SnapshotNotFound
from moonpool.fleet.model import Pool, PoolRecord
from moonpool.fleet.repository import PoolRepository
from moonpool.hosts.model import Readiness
from moonpool.ids import new_uuid
from moonpool.snapshots.catalogue import SnapshotCatalogue
from moonpool.store.database import Store, Transaction

KeepWarm = Callable[[int], None]
"""Of the host: how many members it is to keep ready beyond its own number."""


class WarmPools:
    """A warm member fits every snapshot that has no memory, so pools add up, and each create of anybody's takes from
    what is ready. A team sees its own pools alone; NotFound for any other."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        limits: LimitBook,
        snapshots: SnapshotCatalogue,
        readiness: Callable[[], Readiness],
        keep_warm: KeepWarm,
        clock: Clock,
    ) -> None:
        self._store, self._access, self._limits, self._clock = store, access, limits, clock
        self._snapshots, self._readiness, self._keep_warm = snapshots, readiness, keep_warm
        self._repository = PoolRepository()

    async def start(self) -> None:
        async with self._store.reading() as connection:
            self._keep_warm(await self._repository.total(connection))

    async def list(self, principal: Principal) -> list[Pool]:
        self._access.require(principal, Scope.SANDBOXES_READ)
        async with self._store.reading() as connection:
            return [self._seen(record) for record in await self._repository.all_of(connection, principal.team_id)]

    async def create(self, principal: Principal, snapshot: str, size: int) -> Pool:
        """InvalidInput, LimitExceeded, NameTaken, SnapshotNotFound, SnapshotNotReady."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        found = self._snapshots.resolve(principal.team_id, snapshot)
        if found.has_memory:
            message = f"Snapshot {found.name} has memory: its sandboxes go on from there, and use no warm ones"
            raise InvalidInput(message, field="snapshot")
        now = self._clock.now()
        record = PoolRecord(new_uuid(), principal.team_id, found.id, found.name, size, now, now)
        async with self._store.transaction() as transaction:
            await self._check(transaction, record)
            await self._repository.insert(transaction, record)
            await self._tell(transaction)
        return self._seen(record)

    async def resize(self, principal: Principal, pool_id: str, size: int) -> Pool:
        """0: nothing is kept ready because of it. LimitExceeded, NotFound."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        async with self._store.transaction() as transaction:
            old = await self._find(transaction, principal, pool_id)
            record = replace(old, size=size, updated_at=self._clock.now())
            await self._check(transaction, record)
            await self._repository.write(transaction, record)
            await self._tell(transaction)
        return self._seen(record)

    async def delete(self, principal: Principal, pool_id: str) -> None:
        """NotFound."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, await self._find(transaction, principal, pool_id))
            await self._tell(transaction)

    async def _find(self, transaction: Transaction, principal: Principal, pool_id: str) -> PoolRecord:
        for record in await self._repository.all_of(transaction.connection, principal.team_id):
            if record.id == pool_id:
                return record
        raise NotFound(f"Warm pool {pool_id[:100]} not found")

    async def _check(self, transaction: Transaction, new: PoolRecord) -> None:
        limit = self._limits.of(new.team_id).warm
        others = await self._repository.all_of(transaction.connection, new.team_id)
        wanted = new.size + sum(record.size for record in others if record.id != new.id)
        if limit is not None and wanted > limit:
            message = f"{wanted} warm sandboxes are more than the {limit} that this team may have"
            raise LimitExceeded(message, hint="Ask the operator for more.", field="pool")

    async def _tell(self, transaction: Transaction) -> None:
        total = await self._repository.total(transaction.connection)
        transaction.after_commit(lambda: self._keep_warm(total))

    def _seen(self, record: PoolRecord) -> Pool:
        try:
            snapshot = self._snapshots.find(record.team_id, record.snapshot_id)
        except SnapshotNotFound:
            snapshot = None
        return Pool(record, snapshot, min(record.size, self._readiness().warm))
