"""Use cases of snapshots."""

import asyncio
import functools
import re
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.engine.images.oci import ImageConfig
from moonpool.errors import Forbidden, InvalidInput, InvalidState, LimitExceeded, MoonpoolError, SnapshotNotFound
from moonpool.events.model import EventType, NewEvent
from moonpool.events.service import EventService
from moonpool.hosts.model import Resources, snapshot_image
from moonpool.ids import new_uuid
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.eviction import Candidate
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import Sandbox
from moonpool.sandboxes.service import SandboxService
from moonpool.sandboxes.validation import check_name, check_priority, check_resources
from moonpool.snapshots.catalogue import SnapshotCatalogue
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotSort, SnapshotState
from moonpool.snapshots.repository import SnapshotRepository, name_taken
from moonpool.snapshots.seeds import SEED_IDS
from moonpool.store.database import Store, Transaction
from moonpool.store.paging import Page
from moonpool.store.text import storable

MAX_PAGE_SIZE = 1000
MAX_PAGE = 1_000_000_000
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,35}")
INTERRUPTED = "the server was interrupted"
KEEP_RECORDS = timedelta(days=7)  # of what was removed
KEPT = frozenset({SnapshotState.ACTIVE, SnapshotState.INACTIVE})

log = structlog.get_logger(__name__)


class SnapshotService:
    """A team sees its own snapshots and the general ones; SnapshotNotFound for anything else.

    A caller that is cancelled never leaves a change half done: it is finished.
    """

    def __init__(
        self,
        store: Store,
        access: AccessService,
        events: EventService,
        catalogue: SnapshotCatalogue,
        sandboxes: SandboxService,
        machines: Machines,
        background: Background,
        clock: Clock,
    ) -> None:
        self._store = store
        self._access = access
        self._events = events
        self._catalogue = catalogue
        self._sandboxes = sandboxes
        self._machines = machines
        self._background = background
        self._clock = clock
        self._repository = SnapshotRepository()

    async def recover(self) -> None:
        """At the start of a server: a capture that was cut off has failed, a removal is finished, and what no row
        names is removed. One that cannot be is tried again at the next start."""
        for snapshot in self._catalogue.all():
            if snapshot.state is SnapshotState.BUILDING and snapshot.source_sandbox_id is not None:
                await self._contained(self._failed(snapshot, INTERRUPTED), snapshot.id)
            elif snapshot.state is SnapshotState.REMOVING:
                log.warning("snapshot_removed", snapshot=snapshot.id, was=snapshot.state)
                await self._contained(self._remove(snapshot), snapshot.id)
        known = {item.id for item in self._catalogue.all() if item.state is not SnapshotState.ERROR}
        for stray in set(await self._machines.snapshots()) - known:
            log.warning("stray_snapshot", snapshot=stray)
            await self._contained(self._machines.forget(stray), stray)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, principal: Principal, name_or_id: str, *, include_removed: bool = False) -> Snapshot:
        """By id or by name; a team's own comes before a general one of the same name. ``include_removed`` also finds,
        by id, the record of one that was removed."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        try:
            return self._catalogue.find(principal.team_id, name_or_id)
        except SnapshotNotFound:
            if include_removed and ID.fullmatch(name_or_id):
                async with self._store.reading() as connection:
                    removed = await self._repository.removed(connection, principal.team_id, name_or_id)
                if removed is not None:
                    return removed
            raise

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
        if query.sort is SnapshotSort.LAST_USED_AT:
            await self._catalogue.flush()
        async with self._store.reading() as connection:
            return await self._repository.page(connection, principal.team_id, query)

    def count(self, principal: Principal) -> int:
        """How many snapshots the team has, as its limit counts them. From memory alone."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        return self._catalogue.count(principal.team_id)

    # -- changing ------------------------------------------------------------------------------------------------------

    async def capture(
        self,
        principal: Principal,
        sandbox: str,
        *,
        name: str | None = None,
        memory: bool = True,
        dialect_data: Mapping[str, Any] | None = None,
        id: str | None = None,
        eviction_priority: int | None = None,
    ) -> Snapshot:
        """A snapshot of a sandbox as it is now: its disk and, with ``memory``, the memory of one that runs (it is held
        for a moment, and goes on) or is paused. Sandboxes get that one's resources where they ask for nothing else.

        ``name`` None becomes the id; ``id`` is 1 to 36 of ``[a-z0-9-]``; ``eviction_priority`` as in ``Snapshot``.
        NameTaken, LimitExceeded, InvalidInput, SandboxNotFound, InvalidState: nothing was made. Any other error: it is
        there in state ``error``, with its reason, until it is deleted or another takes its name.
        """
        self._access.require(principal, Scope.SNAPSHOTS_WRITE)
        source = await self._sandboxes.get(principal, sandbox)
        building = self._building(source, name, dialect_data or {}, id)
        building = replace(building, eviction_priority=check_priority(eviction_priority))
        work = self._capture(principal, source, building, memory)
        return await asyncio.shield(self._background.spawn(work, f"capture {building.id}"))

    async def update(
        self,
        principal: Principal,
        snapshot: str,
        *,
        name: str | None = None,
        dialect_data: Mapping[str, Any] | None = None,
    ) -> Snapshot:
        """Another name, or other fields of a dialect (merged key by key). Forbidden for a general one, NameTaken."""
        old = self._own(principal, snapshot, Scope.SNAPSHOTS_WRITE)
        data = {**old.dialect_data, **(dialect_data or {})}
        if name is not None and name != old.name:
            await self._make_way(old.team_id, name)
        new = replace(old, name=old.name if name is None else check_name(name), dialect_data=data)
        return await self._write(old, new, EventType.SNAPSHOT_UPDATED)

    async def activate(self, principal: Principal, snapshot: str) -> Snapshot:
        """Sandboxes can start from it again. Forbidden for a general one, InvalidState where it is not inactive."""
        return await self._switch(principal, snapshot, SnapshotState.INACTIVE, SnapshotState.ACTIVE)

    async def deactivate(self, principal: Principal, snapshot: str) -> Snapshot:
        """Nothing starts from it until it is activated; sandboxes made from it live on. The inverse of ``activate``."""
        return await self._switch(principal, snapshot, SnapshotState.ACTIVE, SnapshotState.INACTIVE)

    async def delete(self, principal: Principal, snapshot: str) -> None:
        """Leave nothing of it; sandboxes made from it live on. Forbidden for a general one."""
        old = self._own(principal, snapshot, Scope.SNAPSHOTS_DELETE)
        if old.state is SnapshotState.BUILDING:
            raise InvalidState(f"Snapshot is {old.state}", state=old.state)
        await asyncio.shield(self._background.spawn(self._delete(old), f"delete snapshot {old.id}"))

    async def delete_all(self, principal: Principal) -> None:
        """Every one of the team's own, as when the team itself is gone."""
        for snapshot in [one for one in self._catalogue.all() if one.team_id == principal.team_id]:
            await self.delete(principal, snapshot.id)

    def everything(self, principal: Principal) -> Sequence[Snapshot]:
        """Every team's, the newest first, for administrators of the server; Forbidden."""
        self._access.require_platform_admin(principal)
        return sorted(self._catalogue.all(), key=lambda snapshot: snapshot.created_at, reverse=True)

    async def delete_any(self, principal: Principal, snapshot: str) -> None:
        """As ``delete``, for administrators of the server: of every team, by id, or by name where that is one team's
        alone (one for every team comes first). Forbidden for those that every server has, SnapshotNotFound."""
        everything = self.everything(principal)
        named = [known for known in everything if known.name == snapshot]
        found = [known for known in everything if known.id == snapshot] or [each for each in named if each.general]
        found = found or named
        if len(found) != 1:
            hint = "Several teams have one of this name: give its id." if found else ""
            raise SnapshotNotFound(f"Snapshot {snapshot[:100]} not found", hint=hint)
        if found[0].id in SEED_IDS:
            raise Forbidden(f"Snapshot {found[0].name} is part of the server")
        if found[0].state is SnapshotState.BUILDING:
            raise InvalidState(f"Snapshot is {found[0].state}", state=found[0].state)
        await asyncio.shield(self._background.spawn(self._delete(found[0]), f"delete snapshot {found[0].id}"))

    # -- builds --------------------------------------------------------------------------------------------------------

    async def begin(
        self,
        principal: Principal,
        *,
        name: str | None,
        resources: Resources,
        id: str | None = None,
        dialect_data: Mapping[str, Any] | None = None,
        general: bool = False,
    ) -> Snapshot:
        """A snapshot that is being built; ``complete`` or ``fail`` ends that. ``general``: for every team, which only
        administrators of the server may ask for. NameTaken, InvalidInput, Forbidden."""
        self._access.require(principal, Scope.SNAPSHOTS_WRITE)
        if general:
            self._access.require_platform_admin(principal)
        check_resources(resources, self._sandboxes.limits(principal))
        snapshot_id = new_uuid() if id is None else check_id(id)
        now = self._clock.now()
        building = Snapshot(
            id=snapshot_id,
            team_id=None if general else principal.team_id,
            name=snapshot_id if name is None else check_name(name),
            state=SnapshotState.BUILDING,
            image=snapshot_image(snapshot_id),
            resources=resources,
            size_bytes=None,
            created_at=now,
            updated_at=now,
            last_used_at=None,
            dialect_data=dict(dialect_data or {}),
        )
        await self._make_way(building.team_id, building.name)
        await self._insert(building)
        return building

    async def complete(
        self, snapshot_id: str, *, size_bytes: int, config: ImageConfig, has_memory: bool = False
    ) -> None:
        """Its disk is there, and memory where it has some: it can be started from. Nothing to do for one that was
        deleted meanwhile."""
        building = self._unbuilt(snapshot_id)
        if building is None:
            await self._machines.forget(snapshot_id)
            return
        whole = replace(
            building, state=SnapshotState.ACTIVE, size_bytes=size_bytes, config=config, has_memory=has_memory
        )
        await self._write(building, whole, EventType.SNAPSHOT_STATE_UPDATED)

    async def fail(self, snapshot_id: str, reason: str) -> None:
        """It could not be built."""
        building = self._unbuilt(snapshot_id)
        if building is not None:
            await self._failed(building, reason)

    async def fail_unbuilt(self, being_built: Collection[str]) -> None:
        """At the start: those that no build is about to make any more have failed."""
        for snapshot in self._catalogue.all():
            if snapshot.state is SnapshotState.BUILDING and snapshot.id not in being_built:
                await self._contained(self._failed(snapshot, INTERRUPTED), snapshot.id)

    def _unbuilt(self, snapshot_id: str) -> Snapshot | None:
        return next(
            (
                found
                for found in self._catalogue.all()
                if found.id == snapshot_id and found.state is SnapshotState.BUILDING
            ),
            None,
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _capture(self, principal: Principal, source: Sandbox, building: Snapshot, memory: bool) -> Snapshot:
        await self._make_way(building.team_id, building.name)
        await self._insert(building)
        try:
            captured = await self._sandboxes.captured(principal, source.id, building.id, memory=memory)
        except InvalidState:
            await self._undo(building)
            raise
        except MoonpoolError as error:
            await self._failed(building, error.message)
            raise
        size, has_memory = captured.size_bytes, captured.has_memory
        mounts = source.mounts if has_memory else ()
        whole = replace(building, state=SnapshotState.ACTIVE, size_bytes=size, has_memory=has_memory, mounts=mounts)
        return await self._write(building, whole, EventType.SNAPSHOT_STATE_UPDATED)

    async def _failed(self, building: Snapshot, reason: str) -> None:
        log.warning("snapshot_failed", snapshot=building.id, reason=reason)
        await self._machines.forget(building.id)
        failed = replace(building, state=SnapshotState.ERROR, reason=reason)
        await self._write(building, failed, EventType.SNAPSHOT_STATE_UPDATED)

    async def _make_way(self, team_id: str | None, name: str) -> None:
        """The name of a snapshot that could not be made is another's for the asking."""
        for known in self._catalogue.all():
            if (known.team_id, known.name, known.state) == (team_id, name, SnapshotState.ERROR):
                await self._remove(known)

    async def _switch(self, principal: Principal, snapshot: str, old: SnapshotState, new: SnapshotState) -> Snapshot:
        found = self._own(principal, snapshot, Scope.SNAPSHOTS_WRITE)
        if found.state is not old:
            raise InvalidState(f"Snapshot is {found.state}, not {old}", state=found.state)
        return await self._write(found, replace(found, state=new), EventType.SNAPSHOT_STATE_UPDATED)

    def candidates(self) -> Iterable[Candidate]:
        """For the server itself: what may go when space runs out."""
        for snapshot in self._catalogue.all():
            team_id, priority = snapshot.team_id, snapshot.eviction_priority
            if team_id is not None and priority is not None and snapshot.state in KEPT:
                evict = functools.partial(self._evict, snapshot)
                last_used = snapshot.last_used_at or snapshot.created_at
                yield Candidate(snapshot.id, team_id, priority, last_used, evict)

    async def _evict(self, snapshot: Snapshot, reason: str) -> None:
        await self._delete(replace(snapshot, reason=reason))

    async def prune(self) -> None:
        """Forget the records of what was removed a while ago."""
        async with self._store.transaction() as transaction:
            await self._repository.prune(transaction, self._clock.now() - KEEP_RECORDS)

    async def _delete(self, old: Snapshot) -> None:
        if old.state is not SnapshotState.REMOVING:
            removing = replace(old, state=SnapshotState.REMOVING)
            old = await self._write(old, removing, EventType.SNAPSHOT_STATE_UPDATED)
        await self._remove(old)

    def _own(self, principal: Principal, snapshot: str, scope: Scope) -> Snapshot:
        self._access.require(principal, scope)
        found = self._catalogue.find(principal.team_id, snapshot)
        if found.general:
            raise Forbidden(f"Snapshot {found.name} belongs to every team")
        return found

    def _building(self, source: Sandbox, name: str | None, dialect_data: Mapping[str, Any], id: str | None) -> Snapshot:
        snapshot_id = new_uuid() if id is None else check_id(id)
        now = self._clock.now()
        return Snapshot(
            id=snapshot_id,
            team_id=source.team_id,
            name=snapshot_id if name is None else check_name(name),
            state=SnapshotState.BUILDING,
            image=snapshot_image(snapshot_id),
            resources=source.resources,
            size_bytes=None,
            created_at=now,
            updated_at=now,
            last_used_at=None,
            source_sandbox_id=source.id,
            user=source.user,
            config=source.config,
            dialect_data=dict(dialect_data),
        )

    async def _insert(self, snapshot: Snapshot) -> None:
        if any(known.id == snapshot.id for known in self._catalogue.all()):
            raise name_taken(snapshot)
        async with self._store.transaction() as transaction:
            self._require_room(snapshot.team_id)
            await self._repository.insert(transaction, snapshot)
            transaction.after_commit(lambda: self._catalogue.remember(snapshot))
            await self._tell(transaction, EventType.SNAPSHOT_CREATED, None, snapshot)

    def _require_room(self, team_id: str | None) -> None:
        """LimitExceeded; asked in the turn to write, so that captures at once cannot pass the limit together."""
        limit = None if team_id is None else self._access.limits.of(team_id).snapshots
        current = 0 if team_id is None else self._catalogue.count(team_id)
        if limit is not None and current >= limit:
            message, hint = f"This team has {limit} snapshots, as many as it may", "Delete some, or ask the operator."
            raise LimitExceeded(message, hint=hint, field="snapshots", limit=limit, current=current)

    async def _write(self, old: Snapshot, new: Snapshot, event: EventType) -> Snapshot:
        async with self._store.transaction() as transaction:
            new = replace(new, updated_at=self._clock.now())
            await self._repository.write(transaction, new)
            transaction.after_commit(lambda: self._catalogue.remember(new))
            await self._tell(transaction, event, old, new)
        return new

    async def _remove(self, snapshot: Snapshot) -> None:
        """First what is on disk: a row without it is finished at the next start, the reverse would be a leak. A record
        stays for a while."""
        if snapshot.general:  # There is no team that would ask for its record.
            await self._undo(snapshot)
            return
        await self._machines.forget(snapshot.id)
        await self._write(snapshot, replace(snapshot, state=SnapshotState.REMOVED), EventType.SNAPSHOT_REMOVED)

    async def _undo(self, building: Snapshot) -> None:
        """Nothing is left, and no record."""
        await self._machines.forget(building.id)
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, building)
            transaction.after_commit(lambda: self._catalogue.forget(building.id))
            await self._tell(transaction, EventType.SNAPSHOT_REMOVED, building, building)

    async def _tell(self, transaction: Transaction, event: EventType, old: Snapshot | None, new: Snapshot) -> None:
        if new.team_id is None:
            return
        data = {
            "name": new.name,
            "state": new.state.value,
            "old_state": None if old is None else old.state.value,
            "new_state": new.state.value,
            "has_memory": new.has_memory,
            "reason": new.reason,
        }
        await self._events.append(transaction, NewEvent(new.team_id, event, new.id, data, self._clock.now()))

    async def _contained(self, work: Coroutine[Any, Any, None], snapshot_id: str) -> None:
        try:
            await work
        except MoonpoolError as error:
            log.error("snapshot_not_removed", snapshot=snapshot_id, reason=error.message)


def check_id(snapshot_id: str) -> str:
    if not ID.fullmatch(snapshot_id):
        raise InvalidInput("Invalid snapshot id", field="id")
    return snapshot_id
