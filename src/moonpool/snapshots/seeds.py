"""Snapshots that every server has from its first start, for every team."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from moonpool.hosts.model import Resources
from moonpool.snapshots.model import (
    BASE_IMAGE,
    CODE_RUNNER_IMAGE,
    DESKTOP_IMAGE,
    WORKSPACE_IMAGE,
    Snapshot,
    SnapshotState,
)


@dataclass(frozen=True)
class Warmth:
    """What runs in the first sandbox, as ``user``, until all is there that others are to find in its memory; and what
    succeeds in one that was made from it where all of it is there."""

    command: tuple[str, ...]
    check: tuple[str, ...]
    user: str


@dataclass(frozen=True)
class Seed:
    """``setting``: what makes a server build its image; one without is there always."""

    resources: Resources
    image: str = BASE_IMAGE
    setting: str | None = None
    warmth: Warmth | None = None


SEEDS = {
    "daytona-small": Seed(Resources(cpu=1, memory_mib=1024, disk_mib=3 * 1024)),
    "daytona-medium": Seed(Resources(cpu=2, memory_mib=4096, disk_mib=8 * 1024)),
    "daytona-large": Seed(Resources(cpu=4, memory_mib=8192, disk_mib=10 * 1024)),
    "minimal": Seed(Resources(cpu=1, memory_mib=512, disk_mib=5 * 1024)),
    "freestyle-default": Seed(Resources(cpu=1, memory_mib=2 * 1024, disk_mib=16 * 1024)),
    # What CodeSandbox calls Micro.
    "pcz35m": Seed(Resources(cpu=4, memory_mib=8 * 1024, disk_mib=20 * 1024), WORKSPACE_IMAGE),
}

CODE_RUNNER_WARM = "/usr/local/bin/code-runner-warm"

OPTIONAL_SEEDS = {
    "daytona-desktop": Seed(
        Resources(cpu=2, memory_mib=4096, disk_mib=10 * 1024), DESKTOP_IMAGE, setting="MOONPOOL_DESKTOP"
    ),
    "code-runner-beta": Seed(
        Resources(cpu=2, memory_mib=2048, disk_mib=10 * 1024),
        CODE_RUNNER_IMAGE,
        setting="MOONPOOL_CODE_RUNNER",
        warmth=Warmth((CODE_RUNNER_WARM,), (CODE_RUNNER_WARM, "--check"), "wrenn-user"),
    ),
}

NAMESPACE = uuid.UUID("7c1e6f0a-6d0f-4f2c-9d53-2a6f0b8f7d11")
SEED_IDS = frozenset(str(uuid.uuid5(NAMESPACE, name)) for name in SEEDS | OPTIONAL_SEEDS)


def seeds(now: datetime, images: Collection[str] = ()) -> list[Snapshot]:
    """The general snapshots; a name has the same id on every server. ``images``: those beyond the usual ones that are
    there too."""
    optional = {name: seed for name, seed in OPTIONAL_SEEDS.items() if seed.image in images}
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
        for name, seed in (SEEDS | optional).items()
    ]
