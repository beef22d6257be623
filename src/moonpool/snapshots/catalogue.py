"""Every snapshot of this server, in memory: what a create looks its snapshot up in."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from moonpool.clock import Clock
from moonpool.errors import SnapshotNotFound, SnapshotNotReady
from moonpool.snapshots.model import UNREADY, Snapshot, SnapshotState
from moonpool.snapshots.repository import SnapshotRepository
from moonpool.snapshots.seeds import OPTIONAL_SEEDS, seeds
from moonpool.store.database import Store

NOT_COUNTED = frozenset({SnapshotState.ERROR, SnapshotState.REMOVED})


class SnapshotCatalogue:
    """Follows the table: whoever writes a row tells it here after the commit. Removed ones are not in it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._repository = SnapshotRepository()
        self._by_id: dict[str, Snapshot] = {}
        self._by_name: dict[tuple[str | None, str], str] = {}
        self._used: dict[str, datetime] = {}

    async def start(self, images: Collection[str] = ()) -> None:
        """Create the general snapshots that every server has, where they are missing, and those of ``images``, which
        only some build; read them all."""
        async with self._store.transaction() as transaction:
            await self._repository.ensure(transaction, seeds(self._clock.now(), images))
        async with self._store.reading() as connection:
            for snapshot in await self._repository.present(connection):
                self.remember(snapshot)

    def all(self) -> tuple[Snapshot, ...]:
        """Every team's."""
        return tuple(self._by_id.values())

    def count(self, team_id: str) -> int:
        """How many the team has of its own, unfinished ones too, but not those that could not be made."""
        own = (snapshot for snapshot in self._by_id.values() if snapshot.team_id == team_id)
        return sum(snapshot.state not in NOT_COUNTED for snapshot in own)

    def find(self, team_id: str, name_or_id: str) -> Snapshot:
        """By name or id, in any state; a team's own comes before a general one of the same name. SnapshotNotFound."""
        for owner in (team_id, None):
            found = self._by_id.get(self._by_name.get((owner, name_or_id), name_or_id))
            if found is not None and found.team_id == owner:
                return found
        optional = OPTIONAL_SEEDS.get(name_or_id)
        hint = "" if optional is None else f"The operator offers it with {optional.setting}=true."
        raise SnapshotNotFound(f"Snapshot {name_or_id} not found", hint=hint)

    def resolve(self, team_id: str, name_or_id: str) -> Snapshot:
        """What a sandbox of this team starts from; the key's scope was checked before. SnapshotNotReady."""
        found = self.find(team_id, name_or_id)
        if found.state is not SnapshotState.ACTIVE:
            hint = UNREADY.get(found.state, "")
            raise SnapshotNotReady(f"Snapshot {name_or_id} is {found.state}", state=found.state, hint=hint)
        return found

    def note_use(self, snapshot_id: str) -> None:
        """A sandbox was made from it now; written by ``flush``."""
        found = self._by_id.get(snapshot_id)
        if found is not None:
            now = self._used[snapshot_id] = self._clock.now()
            self._by_id[snapshot_id] = replace(found, last_used_at=now)

    async def flush(self) -> None:
        """Write when snapshots were used."""
        used, self._used = self._used, {}
        if used:
            async with self._store.transaction() as transaction:
                await self._repository.note_use(transaction, used)

    def remember(self, snapshot: Snapshot) -> None:
        """It is so from now on."""
        self.forget(snapshot.id)
        if snapshot.state is SnapshotState.REMOVED:
            return
        self._by_id[snapshot.id] = snapshot
        self._by_name[snapshot.team_id, snapshot.name] = snapshot.id

    def forget(self, snapshot_id: str) -> None:
        """It is gone."""
        old = self._by_id.pop(snapshot_id, None)
        if old is not None:
            self._by_name.pop((old.team_id, old.name), None)
