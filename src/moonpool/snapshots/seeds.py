"""Snapshots that every server has from its first start, for every team."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from moonpool.hosts.model import Resources
from moonpool.snapshots.model import BASE_IMAGE, DESKTOP_IMAGE, WORKSPACE_IMAGE, Snapshot, SnapshotState


@dataclass(frozen=True)
class Seed:
    resources: Resources
    image: str = BASE_IMAGE


SEEDS = {
    "daytona-small": Seed(Resources(cpu=1, memory_mib=1024, disk_mib=3 * 1024)),
    "daytona-medium": Seed(Resources(cpu=2, memory_mib=4096, disk_mib=8 * 1024)),
    "daytona-large": Seed(Resources(cpu=4, memory_mib=8192, disk_mib=10 * 1024)),
    "minimal": Seed(Resources(cpu=1, memory_mib=512, disk_mib=5 * 1024)),
    "freestyle-default": Seed(Resources(cpu=1, memory_mib=2 * 1024, disk_mib=16 * 1024)),
    # What CodeSandbox calls Micro.
    "pcz35m": Seed(Resources(cpu=4, memory_mib=8 * 1024, disk_mib=20 * 1024), WORKSPACE_IMAGE),
}

DESKTOP_SEEDS = {
    "daytona-desktop": Seed(Resources(cpu=2, memory_mib=4096, disk_mib=10 * 1024), DESKTOP_IMAGE),
}

NAMESPACE = uuid.UUID("7c1e6f0a-6d0f-4f2c-9d53-2a6f0b8f7d11")


def seeds(now: datetime, *, desktop: bool = False) -> list[Snapshot]:
    """The general snapshots; a name has the same id on every server. ``desktop``: its image is there too."""
    return [
        Snapshot(
            id=str(uuid.uuid5(NAMESPACE, name)),
            team_id=None,
            name=name,
            state=SnapshotState.ACTIVE,
            image=seed.image,
            resources=seed.resources,
            size_bytes=None,
            created_at=now,
            updated_at=now,
            last_used_at=None,
        )
        for name, seed in (SEEDS | DESKTOP_SEEDS if desktop else SEEDS).items()
    ]
