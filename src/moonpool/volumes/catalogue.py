"""Every volume of this server, in memory: what a sandbox looks its mounts up in."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from moonpool.errors import InvalidState, VolumeNotFound
from moonpool.hosts.model import Mount
from moonpool.store.database import Store, Transaction
from moonpool.volumes.model import Volume, VolumeState, WantedMount
from moonpool.volumes.paths import check_path, check_subpath, check_together, free_slot
from moonpool.volumes.repository import VolumeRepository


class VolumeCatalogue:
    """Follows the table: whoever writes a row tells it here after the commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._repository = VolumeRepository()
        self._by_id: dict[str, Volume] = {}

    async def start(self) -> None:
        async with self._store.reading() as connection:
            for volume in await self._repository.all(connection):
                self.remember(volume)

    def all(self) -> tuple[Volume, ...]:
        """Every team's, deleted ones included."""
        return tuple(self._by_id.values())

    def find(self, team_id: str, name_or_id: str) -> Volume:
        """The team's volume of this id, else of this name, deleted ones left out; VolumeNotFound."""
        found = self._by_id.get(name_or_id)
        if found is not None and found.team_id == team_id and found.state is not VolumeState.DELETED:
            return found
        by_name = self._of_name(team_id, name_or_id)
        if by_name is None:
            raise VolumeNotFound(f"Volume with ID or name {name_or_id} not found")
        return by_name

    def named(self, team_id: str, name: str) -> Volume:
        """By name alone; VolumeNotFound, whose message old SDKs of Daytona read to know that they may create it."""
        found = self._of_name(team_id, name)
        if found is None:
            raise VolumeNotFound(f"Volume with name {name} not found")
        return found

    def _of_name(self, team_id: str, name: str) -> Volume | None:
        for volume in self._by_id.values():
            if volume.team_id == team_id and volume.name == name and volume.state is not VolumeState.DELETED:
                return volume
        return None

    def mounts(self, team_id: str, wanted: Iterable[WantedMount], present: Sequence[Mount] = ()) -> tuple[Mount, ...]:
        """``present`` and ``wanted`` together. InvalidInput, LimitExceeded, VolumeNotFound, InvalidState."""
        found = list(present)
        for want in wanted:
            volume = self.find(team_id, want.volume)
            require_ready(volume)
            slot = free_slot({mount.slot for mount in found})
            path, subpath = check_path(want.path), check_subpath(want.subpath)
            found.append(Mount(volume.id, path, subpath, want.read_only, slot))
        check_together(found)
        return tuple(found)

    async def use(self, transaction: Transaction, team_id: str, mounts: Sequence[Mount], now: datetime) -> None:
        """In the transaction that writes who mounts them: a volume that is about to be deleted is refused, since its
        deletion looks for whom it is mounted by in a transaction as well. VolumeNotFound, InvalidState."""
        if not mounts:
            return
        volumes = {mount.volume: self.find(team_id, mount.volume) for mount in mounts}
        for volume in volumes.values():
            require_ready(volume)
        await self._repository.note_use(transaction, team_id, list(volumes), now)
        for volume in volumes.values():
            transaction.after_commit(lambda used=volume: self.remember(replace(used, last_used_at=now)))  # type: ignore[misc]

    def missing(self, team_id: str, mounts: Iterable[Mount]) -> bool:
        """Whether one of these volumes cannot be mounted any more."""
        ready = {volume.id for volume in self._by_id.values() if volume.state is VolumeState.READY}
        owned = {volume.id for volume in self._by_id.values() if volume.team_id == team_id}
        return any(mount.volume not in ready & owned for mount in mounts)

    def remember(self, volume: Volume) -> None:
        """It is so from now on."""
        self._by_id[volume.id] = volume

    def forget(self, volume_id: str) -> None:
        self._by_id.pop(volume_id, None)


def require_ready(volume: Volume) -> None:
    if volume.state is not VolumeState.READY:
        raise InvalidState(f"Volume {volume.name} is {volume.state}, not ready", state=volume.state)
