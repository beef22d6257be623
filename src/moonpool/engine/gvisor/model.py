"""What the driver is given and gives back."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol


class Slot(Protocol):
    """The part of a network slot the driver needs: a namespace with ``eth0`` ready in it, as a file to enter."""

    @property
    def namespace(self) -> Path: ...


@dataclass(frozen=True)
class Member:
    """A sandbox to start: its name (unique on this server), network slot and control group."""

    name: str
    slot: Slot
    cgroup: str


@dataclass(frozen=True)
class Share:
    """A folder of the host's that a sandbox has in common with others, and which of its mount points it is at."""

    source: Path
    slot: int
    read_only: bool = False


@dataclass(frozen=True)
class Running:
    """A sandbox that exists: its sentry's and its gofer's process ids on the host."""

    name: str
    sandbox_pid: int
    gofer_pid: int


class Held(Enum):
    """Whether a sandbox is paused. PERHAPS: somebody died in the very moment of pausing or resuming it."""

    NO = "no"
    YES = "yes"
    PERHAPS = "perhaps"


@dataclass(frozen=True)
class Capabilities:
    """What the installed runsc is: a checkpoint belongs to one such set.

    ``flags`` are the global ones every call is made with, paths left out; ``checkpoint_flags`` and ``restore_flags``
    those of the two commands; ``cpu_features`` what the processor offers, sorted.
    """

    version: str
    flags: tuple[str, ...]
    checkpoint_flags: tuple[str, ...]
    restore_flags: tuple[str, ...]
    platform: str
    architecture: str
    cpu_features: tuple[str, ...]
