"""What a team holds at one time, and the limits that keep it from holding more."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from moonpool.access.limits import LimitBook
from moonpool.access.model import TeamLimits
from moonpool.errors import LimitExceeded
from moonpool.sandboxes.model import Sandbox, SandboxState

Step = tuple[Sandbox | None, Sandbox]
"""A sandbox as it is, or None for a new one, and as it is to be."""
Gate = Callable[[Sequence[Step], Iterable[Sandbox]], None]

S = SandboxState
HAS_MACHINE = frozenset({S.STARTING, S.RUNNING, S.PAUSING, S.RESUMING, S.STOPPING})
"""Cores and memory are held for these, from the moment at which they are asked for."""
HAS_NO_DISK = frozenset({S.ARCHIVED, S.DESTROYED})


@dataclass(frozen=True)
class Holdings:
    """``sandboxes`` that are not destroyed, ``running`` ones with their cores and memory, and the disk of all that have
    one here."""

    sandboxes: int = 0
    running: int = 0
    cpu: float = 0
    memory_mib: int = 0
    disk_mib: int = 0

    def __add__(self, other: "Holdings") -> "Holdings":
        return Holdings(
            self.sandboxes + other.sandboxes,
            self.running + other.running,
            self.cpu + other.cpu,
            self.memory_mib + other.memory_mib,
            self.disk_mib + other.disk_mib,
        )


NOTHING = Holdings()


def held_by(sandbox: Sandbox) -> Holdings:
    resources, runs = sandbox.resources, sandbox.state in HAS_MACHINE
    return Holdings(
        sandboxes=int(sandbox.state is not S.DESTROYED),
        running=int(runs),
        cpu=resources.cpu if runs else 0,
        memory_mib=resources.memory_mib if runs else 0,
        disk_mib=0 if sandbox.state in HAS_NO_DISK else resources.disk_mib,
    )


def held_together(sandboxes: Iterable[Sandbox]) -> Holdings:
    return sum(map(held_by, sandboxes), NOTHING)


@dataclass(frozen=True)
class Bound:
    """One limit: its name among ``TeamLimits``, what of ``Holdings`` it bounds, the field that errors name."""

    limit: str
    holding: str
    field: str
    words: str
    hint: str


ENOUGH = "Destroy some of them, or ask the operator for more."
REST = "Stop or pause some sandboxes, or ask the operator for more."
BOUNDS = (
    Bound("sandboxes", "sandboxes", "sandboxes", "This team has {limit:g} sandboxes, as many as it may", ENOUGH),
    Bound("running", "running", "running", "This team runs {limit:g} sandboxes, as many as it may", REST),
    Bound("total_cpu", "cpu", "total_cpu", "Total CPU limit exceeded. Maximum allowed: {limit:g} cores", REST),
    Bound(
        "total_memory_mib",
        "memory_mib",
        "total_memory",
        "Total memory limit exceeded. Maximum allowed: {limit:g} MiB",
        REST,
    ),
    Bound(
        "total_disk_mib", "disk_mib", "total_disk", "Total disk limit exceeded. Maximum allowed: {limit:g} MiB", ENOUGH
    ),
)


def require_room(limits: TeamLimits, before: Holdings, after: Holdings) -> None:
    """LimitExceeded where something grows beyond its limit. What is beyond it already may stay, and shrink."""
    for bound in BOUNDS:
        limit = getattr(limits, bound.limit)
        current, more = getattr(before, bound.holding), getattr(after, bound.holding)
        if limit is not None and more > limit and more > current:
            figures = {"limit": limit, "current": current}
            raise LimitExceeded(bound.words.format(limit=limit), hint=bound.hint, field=bound.field, **figures)


def gate_of(book: LimitBook) -> Gate:
    """Asked in the one turn to write, so that no number of creates at once gets past a limit, and none fails early."""

    def gate(steps: Sequence[Step], live: Iterable[Sandbox]) -> None:
        team_id = steps[0][1].team_id
        limits = book.of(team_id)
        if all(getattr(limits, bound.limit) is None for bound in BOUNDS):
            return
        before = held_together(old for old, _ in steps if old is not None)
        after = held_together(new for _, new in steps)
        if all(getattr(after, bound.holding) <= getattr(before, bound.holding) for bound in BOUNDS):
            return
        changed = {new.id for _, new in steps}
        others = held_together(one for one in live if one.team_id == team_id and one.id not in changed)
        require_room(limits, others + before, others + after)

    return gate
