"""What the host takes on: an operator may keep new sandboxes away from it, or everything that would begin to run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moonpool.errors import NoCapacity
from moonpool.sandboxes.holdings import Gate, Step
from moonpool.sandboxes.model import AT_REST, Sandbox, SandboxState

BEGINS = frozenset({SandboxState.STARTING, SandboxState.RESUMING, SandboxState.RESTORING})
HINT = "The operator keeps this host free for now; try again later."


@dataclass(frozen=True)
class Placing:
    """``unschedulable``: nothing new is made here. ``draining``: nor does anything start that is at rest. What runs
    goes on either way."""

    unschedulable: bool = False
    draining: bool = False


class Switches:
    """What holds now, in memory; whoever keeps it sets ``placing``."""

    def __init__(self) -> None:
        self.placing = Placing()


def check(placing: Placing, old: Sandbox | None, new: Sandbox) -> None:
    """NoCapacity where this step is one that the host does not take on now."""
    made = old is None or old.state is SandboxState.DESTROYED
    if made and (placing.unschedulable or placing.draining):
        raise NoCapacity("This host takes no new sandboxes now", hint=HINT)
    if placing.draining and old is not None and old.state in AT_REST and new.state in BEGINS:
        raise NoCapacity("This host is being drained: nothing starts on it now", hint=HINT)


def guarded(gate: Gate, switches: Switches) -> Gate:
    """``gate``, once the switches let a write through."""

    def both(steps: Sequence[Step], live: Iterable[Sandbox]) -> None:
        for old, new in steps:
            check(switches.placing, old, new)
        gate(steps, live)

    return both
