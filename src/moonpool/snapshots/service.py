"""Use cases of snapshots."""

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, SnapshotNotFound
from moonpool.snapshots.model import Snapshot, SnapshotQuery
from moonpool.snapshots.repository import SnapshotRepository
from moonpool.snapshots.seeds import seeds
from moonpool.store.database import Store
from moonpool.store.paging import Page
from moonpool.store.text import storable

MAX_PAGE_SIZE = 1000
MAX_PAGE = 1_000_000_000


class SnapshotService:
    """A team sees its own snapshots and the general ones; SnapshotNotFound for anything else."""

    def __init__(self, store: Store, access: AccessService, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._clock = clock
        self._repository = SnapshotRepository()
        self._known: dict[tuple[str | None, str], Snapshot] = {}

    async def start(self) -> None:
        """Create the general snapshots that every server has, where they are missing; read them all."""
        async with self._store.transaction() as transaction:
            await self._repository.ensure(transaction, seeds(self._clock.now()))
        async with self._store.reading() as connection:
            for snapshot in await self._repository.all(connection):
                self._known[snapshot.team_id, snapshot.name] = snapshot
                self._known[snapshot.team_id, snapshot.id] = snapshot

    async def get(self, principal: Principal, name_or_id: str) -> Snapshot:
        """By id or by name; a team's own comes before a general one of the same name."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        return self.resolve(principal.team_id, name_or_id)

    async def list(self, principal: Principal, query: SnapshotQuery | None = None) -> Page[Snapshot]:
        """One page, with a total."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        query = query or SnapshotQuery()
        if not 1 <= query.page <= MAX_PAGE:
            raise InvalidInput("Pages count from 1", field="page")
        if not 1 <= query.limit <= MAX_PAGE_SIZE:
            raise InvalidInput(f"A page has 1 to {MAX_PAGE_SIZE} items", field="limit")
        if query.name is not None and not storable(query.name):
            raise InvalidInput("NUL and lone surrogates are not allowed", field="name")
        async with self._store.reading() as connection:
            return await self._repository.page(connection, principal.team_id, query)

    def resolve(self, team_id: str, name_or_id: str) -> Snapshot:
        """What a sandbox of this team starts from, out of memory; the key's scope was checked before."""
        found = self._known.get((team_id, name_or_id)) or self._known.get((None, name_or_id))
        if found is None:
            raise SnapshotNotFound(f"Snapshot {name_or_id} not found")
        return found
