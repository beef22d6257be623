"""Use cases of the host: what it is and has, and the switches by which an operator keeps it free."""

import hashlib
import os
import platform
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import Forbidden, InvalidInput, LimitExceeded, MachineUnfit, NotFound
from moonpool.fleet.model import HostLoad, HostRecord, HostState, HostView
from moonpool.fleet.repository import HostRepository
from moonpool.hosts.model import Readiness, Room
from moonpool.metrics.model import Gauges
from moonpool.sandboxes.holdings import held_together
from moonpool.sandboxes.placing import Placing, Switches
from moonpool.sandboxes.records import Records
from moonpool.snapshots.catalogue import SnapshotCatalogue
from moonpool.store.database import Store, Transaction
from moonpool.store.text import storable

PURPOSE = b"moonpool host id"
LONGEST_TAG = 100  # characters
MOST_TAGS = 100


@dataclass(frozen=True)
class Machine:
    """What the host tells of itself. ``key``: the server's own secret, which makes its id the same over restarts.
    ``apart_from_database``: the database is not in the folder that has the disks and the key."""

    gauges: Gauges
    readiness: Callable[[], Readiness]
    name: str
    version: str
    key: bytes
    apart_from_database: bool


class FleetService:
    """There is one host, which every team may see; its load, and its switches, are for administrators of the server, by
    a key that may do everything."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        records: Records,
        snapshots: SnapshotCatalogue,
        machine: Machine,
        switches: Switches,
        clock: Clock,
    ) -> None:
        self._store, self._access, self._records, self._clock = store, access, records, clock
        self._snapshots, self._machine, self._switches = snapshots, machine, switches
        self._repository = HostRepository()
        self._since = clock.now()
        self._filled = False
        digest = hashlib.blake2b(PURPOSE, key=hashlib.sha256(machine.key).digest(), digest_size=16).digest()
        self.id = str(uuid.UUID(bytes=digest, version=4))
        self._record = HostRecord(Placing(), (), self._since)

    async def start(self) -> None:
        """The switches are what they were before the restart. Before anything is started or recovered.

        MachineUnfit where the database is another server's."""
        async with self._store.transaction() as transaction:
            if self._machine.apart_from_database:
                await self._require_own(transaction)
            self._take(await self._repository.ensure(transaction, self.id, self._since))

    async def _require_own(self, transaction: Transaction) -> None:
        """MachineUnfit: another server's sandboxes have no disk here, and would all be taken for lost."""
        known = await self._repository.find(transaction.connection, self.id)
        others = await self._repository.others(transaction.connection, self.id)
        if known is None and others:
            raise MachineUnfit(
                f"The database belongs to a server with another data folder (host {', '.join(others)})",
                hint="Give each server a database of its own; where that folder is gone for good, "
                "delete the row from the table hosts.",
            )

    # -- reading -------------------------------------------------------------------------------------------------------

    def is_operator(self, principal: Principal) -> bool:
        return principal.platform_admin and principal.allows(Scope.ADMIN)

    def require_operator(self, principal: Principal) -> None:
        """Forbidden for everybody else."""
        if not self.is_operator(principal):
            raise Forbidden("The host is the operator's", hint="Ask with the key of an administrator of this server.")

    async def host(self, principal: Principal | None, host_id: str | None = None) -> HostView:
        """This host, with its load for an operator (``principal`` None: a proxy). NotFound for any other id."""
        self._check_id(host_id)
        room, readiness = await self._machine.gauges.room(), self._machine.readiness()
        self._filled = self._filled or readiness.ready
        return HostView(
            id=self.id,
            name=self._machine.name,
            architecture=platform.machine(),
            version=self._machine.version,
            state=HostState.READY if self._filled else HostState.INITIALIZING,
            cpu=os.cpu_count() or 1,
            memory_bytes=room.memory_total,
            disk_bytes=room.disk_total,
            placing=self._record.placing,
            tags=self._record.tags,
            since=self._since,
            updated_at=max(self._since, self._record.updated_at),
            checked_at=self._clock.now(),
            load=self._load(room) if principal and self.is_operator(principal) else None,
        )

    def _load(self, room: Room) -> HostLoad:
        held = held_together(self._records.all())
        cores = os.cpu_count() or 1
        return HostLoad(
            cpu_percent=round(min(100.0, 100 * os.getloadavg()[0] / cores), 1),
            memory_percent=percent(room.memory_total - room.memory_available, room.memory_total),
            disk_percent=percent(room.disk_total - room.disk_free, room.disk_total),
            allocated_cpu=held.cpu,
            allocated_memory_mib=held.memory_mib,
            allocated_disk_mib=held.disk_mib,
            snapshots=len(self._snapshots.all()),
            running=held.running,
        )

    # -- changing ------------------------------------------------------------------------------------------------------

    async def set_scheduling(self, principal: Principal, host_id: str, *, unschedulable: bool) -> HostView:
        """Whether new sandboxes are kept away; those that are there are started and stopped as ever. Forbidden,
        NotFound."""
        self.require_operator(principal)
        await self._change(host_id, placing=replace(self._record.placing, unschedulable=unschedulable))
        return await self.host(principal)

    async def set_draining(self, principal: Principal, host_id: str, *, draining: bool) -> HostView:
        """Whether everything is kept away that would begin to run; what runs goes on. Forbidden, NotFound."""
        self.require_operator(principal)
        await self._change(host_id, placing=replace(self._record.placing, draining=draining))
        return await self.host(principal)

    async def add_tag(self, principal: Principal, host_id: str, tag: str) -> None:
        """Nothing to do where it is there. Forbidden, NotFound, InvalidInput, LimitExceeded."""
        self.require_operator(principal)
        tag = tag.strip()
        if not tag or len(tag) > LONGEST_TAG or not tag.isprintable() or not storable(tag):
            raise InvalidInput(f"A tag has 1 to {LONGEST_TAG} printable characters", field="tag")
        if tag not in self._record.tags and len(self._record.tags) >= MOST_TAGS:
            raise LimitExceeded(f"A host has at most {MOST_TAGS} tags", field="tag")
        await self._change(host_id, tags=tuple(sorted({*self._record.tags, tag})))

    async def remove_tag(self, principal: Principal, host_id: str, tag: str) -> None:
        """Forbidden, NotFound."""
        self.require_operator(principal)
        self._check_id(host_id)
        if tag not in self._record.tags:
            raise NotFound("This host has no such tag")
        await self._change(host_id, tags=tuple(one for one in self._record.tags if one != tag))

    async def _change(
        self, host_id: str, *, placing: Placing | None = None, tags: tuple[str, ...] | None = None
    ) -> None:
        self._check_id(host_id)
        async with self._store.transaction() as transaction:
            old = await self._repository.find(transaction.connection, self.id) or self._record
            new = HostRecord(placing or old.placing, old.tags if tags is None else tags, self._clock.now())
            await self._repository.write(transaction, self.id, new)
            transaction.after_commit(lambda: self._take(new))

    def _take(self, record: HostRecord) -> None:
        self._record = record
        self._switches.placing = record.placing

    def _check_id(self, host_id: str | None) -> None:
        if host_id not in (None, self.id):
            raise NotFound(f"Host {host_id} not found")


def percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
