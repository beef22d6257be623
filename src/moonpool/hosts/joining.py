"""How a process that waits and a sandbox's disk become a sandbox."""

from collections.abc import Mapping
from pathlib import Path

import structlog

from moonpool.engine.storage import Kind, Pool
from moonpool.hosts.identity import identity_files, identity_of, write_identity_files
from moonpool.hosts.members import LiveMember, limits_of
from moonpool.hosts.model import MachineSpec, NetworkPolicy, layer_of, snapshot_of
from moonpool.hosts.mounting import Mounting
from moonpool.hosts.parts import Parts
from moonpool.hosts.programs import lay_programs
from moonpool.hosts.records import Record, Records
from moonpool.hosts.staging import sweep

LATE_ROOT = "/.late/root"

log = structlog.get_logger(__name__)


class Joining:
    """``join`` and ``bound`` block: each is one thread hop for all that needs no answer from inside."""

    def __init__(self, parts: Parts, records: Records, mounting: Mounting) -> None:
        self._parts = parts
        self._records = records
        self._mounting = mounting

    def join(self, member: LiveMember, spec: MachineSpec, disk: Path, *, prepared: bool = False) -> Mapping[str, str]:
        """Attach the disk to a warm member; one that is ``prepared`` has its programs. Answers with the identity's
        files that are left for the agent to write."""
        files = identity_files(spec, self._parts.network.resolv_conf)
        try:
            write_identity_files(disk, files)
            files = {}
        except OSError as error:
            log.warning("identity_left_to_agent", sandbox=spec.id, error=str(error))
        if not prepared:
            lay_programs(disk)
        self.bound(member, spec, disk)
        self._parts.cgroups.thaw(member.name)
        if spec.network != NetworkPolicy():
            self._parts.network.set_policy(member.slot.number, spec.network.to_engine())
        self._parts.driver.attach(member.running, disk, LATE_ROOT)
        self._mounting.attach(member, spec.mounts)
        return files

    def bound(self, member: LiveMember, spec: MachineSpec, disk: Path) -> None:
        """Note whose the member is from now on, and give it that sandbox's limits."""
        sweep(disk)
        self._records.prepare(Record(spec, member.name, member.slot.number, member.secret))
        self._parts.cgroups.set_limits(member.name, limits_of(spec.resources))

    async def identify(
        self, member: LiveMember, spec: MachineSpec, files: Mapping[str, str], *, at_leisure: bool = False
    ) -> None:
        """Tell the agent who it is, what of that it has to write itself, and where its volumes belong."""
        problems = await member.agent.thaw(identity_of(spec, member.secret, files, at_leisure=at_leisure))
        if problems:  # Its disk may be full: it runs all the same.
            log.warning("identity_incomplete", sandbox=spec.id, problems=problems)
        for mount in spec.mounts:
            await member.agent.mount_volume(mount.path, mount.slot)


def image_path(pool: Pool, name: str) -> Path:
    """Where what sandboxes start from lies: an image, a snapshot or a layer of a build, by its name."""
    if (snapshot_id := snapshot_of(name)) is not None:
        return pool.path / Kind.SNAPSHOTS.value / snapshot_id
    if (layer_id := layer_of(name)) is not None:
        return pool.path / Kind.LAYERS.value / layer_id
    return pool.path / Kind.IMAGES.value / name
