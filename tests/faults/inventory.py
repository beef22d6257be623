"""What a server has on this machine and in its folder, to be compared with what its API says."""

from collections.abc import Collection
from dataclasses import dataclass

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.instance import Instance
from moonpool.engine.network import Network
from moonpool.hosts.blanks import SPARES
from moonpool.hosts.leftovers import mounts_of, processes_of
from tests.servers import Server

KERNEL, GOFER = "runsc-sandbox", "runsc-gofer"


@dataclass(frozen=True)
class Inventory:
    """How many there are of each part that a member has; the others: ids of the sandboxes that have one."""

    folders: int
    groups: int
    kernels: int
    gofers: int
    links: int
    namespaces: int
    mounts: int
    records: frozenset[str]
    disks: frozenset[str]
    memories: frozenset[str]
    staged: frozenset[str] = frozenset()


def inventory(server: Server) -> Inventory:
    instance = Instance(server.data.resolve())
    run, pool = instance.run, instance.data / "pool"
    names = [name for _, name in processes_of(instance)]
    network = Network.inspect(instance)
    return Inventory(
        folders=len(list((run / "members").iterdir())),
        groups=len(Cgroups.of(instance).names()),
        kernels=names.count(KERNEL),
        gofers=names.count(GOFER),
        links=sum(thing.startswith("network link") for thing in network),
        namespaces=sum(thing.startswith("network namespace") for thing in network),
        mounts=len(mounts_of(instance)),
        records=frozenset(path.stem for path in (run / "machines").iterdir()),
        disks=frozenset(entry.name for entry in (pool / "sandboxes").iterdir()),
        memories=frozenset(entry.name for entry in (instance.data / "memory").iterdir()) - {"snapshots"},
        staged=frozenset(entry.name for entry in (pool / "staging").iterdir()),
    )


def expected(
    warm: int, *, running: Collection[str], paused: Collection[str], stopped: Collection[str], mounts: int
) -> Inventory:
    """What a server with so many warm members has, when each of these sandboxes is what its state says."""
    members = warm + len(running) + SPARES
    return Inventory(
        folders=members,
        groups=members,
        kernels=members,
        gofers=members,
        links=members,
        namespaces=members,
        mounts=mounts,
        records=frozenset(running),
        disks=frozenset((*running, *paused, *stopped)),
        memories=frozenset(file for box in paused for file in (box, f"{box}.secret")),
    )
