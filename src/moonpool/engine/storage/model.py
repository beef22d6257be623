"""What the pool holds and what it says about it."""

import re
from dataclasses import dataclass
from enum import Enum

from moonpool.errors import EngineError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,100}")


class Kind(Enum):
    """What a subvolume is for; the value is its folder in the pool."""

    IMAGES = "images"
    SANDBOXES = "sandboxes"
    SNAPSHOTS = "snapshots"
    LAYERS = "layers"
    VOLUMES = "volumes"
    STAGING = "staging"
    BASES = "bases"
    SPARES = "spares"


class QuotaMode(Enum):
    """How the kernel keeps account.

    Simple quotas charge a block to the subvolume that wrote it, for nothing. Classic ones, all that kernels before 6.7
    have, look up every owner of every changed block: with 200 snapshots of one image a new one takes 365 ms instead
    of 15.
    """

    SIMPLE = "simple"
    CLASSIC = "classic"


@dataclass(frozen=True)
class Usage:
    """Bytes that a subvolume wrote itself, as of the last commit (at most 30 s ago), and its limit."""

    used_bytes: int
    limit_bytes: int | None


def checked(name: str) -> str:
    """``name``, when it can be one of the pool's."""
    if not NAME.fullmatch(name):
        raise EngineError(f"{name!r} cannot be the name of a disk", hint="Use letters, digits, dots, dashes.")
    return name
