"""What teams held between the last count and a server's sudden end, from the events of that time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from moonpool.metrics.metering import Reserved, reserved_in
from moonpool.metrics.repository import Change


@dataclass(frozen=True)
class Held:
    """``team_id`` held this for ``seconds`` until ``end``."""

    team_id: str
    reserved: Reserved
    end: datetime
    seconds: float


def held_between(changes: Iterable[Change], since: datetime, at_most: float) -> Iterator[Held]:
    """Of each sandbox from ``since`` to its last change, by ``changes`` in their order. Of none more than ``at_most``
    seconds, however the clock on the wall was set meanwhile. What it has held since its last change its row tells.
    An event tells the sizes after the change: those before the first one are taken to be the same."""
    last: dict[str, tuple[datetime, Reserved]] = {}
    left: dict[str, float] = {}
    for change in changes:
        resources = change.resources
        begin, reserved = last.get(change.sandbox_id) or (since, reserved_in(change.was, resources))
        rest = left.get(change.sandbox_id, at_most)
        seconds = min(max(0.0, (change.at - begin).total_seconds()), rest)
        left[change.sandbox_id] = rest - seconds
        if seconds:
            yield Held(change.team_id, reserved, change.at, seconds)
        last[change.sandbox_id] = (change.at, reserved_in(change.state, resources))
