"""Use cases of volumes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import structlog

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, InvalidState, LimitExceeded, MoonpoolError, VolumeInUse
from moonpool.events.model import EventType, NewEvent
from moonpool.events.service import EventService
from moonpool.ids import new_uuid
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.validation import check_name
from moonpool.store.database import Store, Transaction
from moonpool.volumes.catalogue import VolumeCatalogue
from moonpool.volumes.model import Volume, VolumeState
from moonpool.volumes.repository import VolumeRepository, name_taken

KEEP_DELETED = timedelta(hours=24)
LEAVE_TIMEOUT = 30.0  # seconds for sandboxes that are being destroyed to be gone

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Users:
    """``of`` names the sandboxes that a volume is mounted in, whatever they are doing; ``left`` waits for those of them
    that are being destroyed."""

    of: Callable[[str], Collection[str]]
    left: Callable[[str], Awaitable[None]]


class VolumeHost(Protocol):
    """What volumes need of a host; each may raise EngineError."""

    async def create_volume(self, volume: str, size_mib: int) -> None: ...

    async def delete_volume(self, volume: str) -> None: ...


@dataclass(frozen=True)
class VolumeLimits:
    """``size_mib`` is what a volume gets that asks for nothing else, ``max_size_mib`` the most. How many a team may
    have is among its other limits."""

    size_mib: int
    max_size_mib: int


class VolumeService:
    """A team sees its own volumes; VolumeNotFound for anything else.

    A caller that is cancelled never leaves a change half done: it is finished.
    """

    def __init__(
        self,
        store: Store,
        access: AccessService,
        events: EventService,
        catalogue: VolumeCatalogue,
        users: Users,
        host: VolumeHost,
        limits: VolumeLimits,
        background: Background,
        clock: Clock,
    ) -> None:
        self._store = store
        self._access = access
        self._events = events
        self._catalogue = catalogue
        self._users = users
        self._host = host
        self._limits = limits
        self._background = background
        self._clock = clock
        self._repository = VolumeRepository()

    async def recover(self) -> None:
        """At the start of a server: what was cut off is finished. What no row names is left alone, since nobody could
        bring its files back."""
        for volume in self._catalogue.all():
            try:
                if volume.state is VolumeState.CREATING:
                    await self._make(volume)
                elif volume.state is VolumeState.DELETING:
                    await self._unmake(volume)
            except MoonpoolError as error:
                log.error("volume_not_recovered", volume=volume.id, reason=error.message)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, principal: Principal, name_or_id: str) -> Volume:
        """By id, else by name."""
        self._access.require(principal, Scope.VOLUMES_READ)
        return self._catalogue.find(principal.team_id, name_or_id)

    async def named(self, principal: Principal, name: str) -> Volume:
        self._access.require(principal, Scope.VOLUMES_READ)
        return self._catalogue.named(principal.team_id, name)

    async def list(self, principal: Principal, *, include_deleted: bool = False) -> tuple[Volume, ...]:
        """The newest first; deleted ones are known for a day."""
        self._access.require(principal, Scope.VOLUMES_READ)
        found = [volume for volume in self._catalogue.all() if volume.team_id == principal.team_id]
        shown = [volume for volume in found if include_deleted or volume.state is not VolumeState.DELETED]
        return tuple(sorted(shown, key=lambda volume: (volume.created_at, volume.id), reverse=True))

    # -- changing ------------------------------------------------------------------------------------------------------

    def count(self, principal: Principal) -> int:
        """How many the team has, as its limit counts them. From memory alone."""
        return len(self._there(principal.team_id))

    async def create(self, principal: Principal, name: str | None = None, *, size_mib: int | None = None) -> Volume:
        """An empty volume, ready. ``name`` None becomes the id. InvalidInput, LimitExceeded, NameTaken: nothing was
        made. EngineError: it is there in state ``error``, with its reason."""
        self._access.require(principal, Scope.VOLUMES_WRITE)
        volume = self._new(principal, name, size_mib)

        async def work() -> Volume:
            async with self._store.transaction() as transaction:
                self._check_room(volume)
                await self._repository.insert(transaction, volume)
                transaction.after_commit(lambda: self._catalogue.remember(volume))
                await self._tell(transaction, EventType.VOLUME_CREATED, None, volume)
            return await self._make(volume)

        return await asyncio.shield(self._background.spawn(work(), f"create volume {volume.id}"))

    async def delete(self, principal: Principal, name_or_id: str) -> None:
        """Leave nothing of it. VolumeInUse while a sandbox that is not destroyed has it mounted, InvalidState while it
        is made or deleted."""
        self._access.require(principal, Scope.VOLUMES_DELETE)
        volume = self._catalogue.find(principal.team_id, name_or_id)
        await asyncio.shield(self._background.spawn(self._delete(volume.id), f"delete volume {volume.id}"))

    async def delete_all(self, principal: Principal) -> None:
        """Every one of the team's, as when the team itself is gone."""
        for volume in await self.list(principal):
            await self.delete(principal, volume.id)

    async def prune(self) -> None:
        """Forget what was deleted more than a day ago."""
        before = self._clock.now() - KEEP_DELETED
        async with self._store.transaction() as transaction:
            await self._repository.prune(transaction, before)
        for volume in self._catalogue.all():
            if volume.state is VolumeState.DELETED and volume.updated_at < before:
                self._catalogue.forget(volume.id)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _new(self, principal: Principal, name: str | None, size_mib: int | None) -> Volume:
        size = self._limits.size_mib if size_mib is None else size_mib
        if size <= 0:
            raise InvalidInput("A volume's size must be more than 0", field="size")
        if size > self._limits.max_size_mib:
            most = self._limits.max_size_mib
            raise LimitExceeded(f"A volume of {size} MiB exceeds the maximum of {most} MiB", field="size")
        volume_id, now = new_uuid(), self._clock.now()
        name = volume_id if name is None else check_name(name)
        return Volume(volume_id, principal.team_id, name, VolumeState.CREATING, size, now, now)

    def _check_room(self, volume: Volume) -> None:
        """What the database would say as well, or cannot say."""
        there = self._there(volume.team_id)
        if any(other.name == volume.name for other in there):
            raise name_taken(volume)
        limit = self._access.limits.of(volume.team_id).volumes
        if limit is not None and len(there) >= limit:
            message = f"This team has {limit} volumes, as many as it may"
            raise LimitExceeded(message, hint="Delete some of them.", field="volumes")

    def _there(self, team_id: str) -> tuple[Volume, ...]:
        mine = (volume for volume in self._catalogue.all() if volume.team_id == team_id)
        return tuple(volume for volume in mine if volume.state is not VolumeState.DELETED)

    async def _make(self, volume: Volume) -> Volume:
        try:
            await self._host.create_volume(volume.id, volume.size_mib)
        except MoonpoolError as error:
            await self._write(volume, VolumeState.ERROR, error.message)
            raise
        return await self._write(volume, VolumeState.READY)

    async def _delete(self, volume_id: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._users.left(volume_id)
        async with self._store.transaction() as transaction:
            volume = next(volume for volume in self._catalogue.all() if volume.id == volume_id)
            if volume.state not in (VolumeState.READY, VolumeState.ERROR):
                raise InvalidState(f"Volume {volume.name} is {volume.state}", state=volume.state)
            if users := self._users.of(volume_id):
                names = ", ".join(sorted(users)[:3]) + (" and others" if len(users) > 3 else "")
                message = f"Volume {volume.name} is in use by {names}"
                raise VolumeInUse(message, hint="Destroy these sandboxes, or take the volume away from them, first.")
            deleting = await self._put(transaction, volume, VolumeState.DELETING, None)
        await self._unmake(deleting)

    async def _unmake(self, volume: Volume) -> None:
        try:
            await self._host.delete_volume(volume.id)
        except MoonpoolError as error:
            await self._write(volume, VolumeState.ERROR, error.message)
            raise
        await self._write(volume, VolumeState.DELETED)

    async def _write(self, volume: Volume, state: VolumeState, reason: str | None = None) -> Volume:
        async with self._store.transaction() as transaction:
            return await self._put(transaction, volume, state, reason)

    async def _put(self, transaction: Transaction, old: Volume, state: VolumeState, reason: str | None) -> Volume:
        new = replace(old, state=state, reason=reason, updated_at=self._clock.now())
        await self._repository.write(transaction, new)
        transaction.after_commit(lambda: self._catalogue.remember(new))
        await self._tell(transaction, EventType.VOLUME_STATE_UPDATED, old, new)
        return new

    async def _tell(self, transaction: Transaction, event: EventType, old: Volume | None, new: Volume) -> None:
        data = {
            "name": new.name,
            "state": new.state.value,
            "old_state": None if old is None else old.state.value,
            "new_state": new.state.value,
        }
        await self._events.append(transaction, NewEvent(new.team_id, event, new.id, data, self._clock.now()))
