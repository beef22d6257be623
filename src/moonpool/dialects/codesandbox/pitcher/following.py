"""Changes of files in the protocol's words, followed for as long as the sandbox runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moonpool.dialects.codesandbox.pitcher.place import Place
from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState, MoonpoolError
from moonpool.guest.model import FileEvent

WINDOW = 0.02  # seconds in which events are gathered
MAX_EVENTS = 1000  # in one notification

TYPES = {"created": "add", "modified": "change", "attributes": "change", "deleted": "remove"}


@dataclass(frozen=True)
class Wanted:
    path: str
    recursive: bool
    excludes: tuple[str, ...]
    user: str


async def follow(
    place: Place, wanted: Wanted, ready: "asyncio.Future[None]", tell: Callable[[list[dict[str, Any]]], None]
) -> None:
    while True:
        try:
            async with (
                place.watching() as agent,
                agent.watch(
                    wanted.path, recursive=wanted.recursive, excludes=wanted.excludes, user=wanted.user
                ) as events,
            ):
                if ready.done():  # What happened while nobody looked cannot be told.
                    tell([{"type": "change", "paths": [wanted.path]}])
                else:
                    ready.set_result(None)
                gathered = Gathered(tell)
                async for event in events:
                    for kind, path in told(event, wanted.path):
                        gathered.add(kind, path)
                gathered.flush()
                return
        except (AgentUnavailable, AgentTimeout, InvalidState) as error:
            if not ready.done():
                ready.set_exception(error)
                return
            if await place.lost():
                return
        except MoonpoolError as error:
            if not ready.done():
                ready.set_exception(error)
            return


def told(event: FileEvent, root: str) -> list[tuple[str, str]]:
    """The protocol's words for one event."""
    if event.kind == "moved":
        return [("remove", event.old_path or event.path), ("add", event.path)]
    if event.kind == "overflow":
        return [("change", root)]
    return [(TYPES[event.kind], event.path)]


class Gathered:
    """Events of a short time, told together; what is told twice in a row is told once."""

    def __init__(self, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        self._tell = tell
        self._events: list[dict[str, Any]] = []

    def add(self, kind: str, path: str) -> None:
        event = {"type": kind, "paths": [path]}
        if event in self._events[-1:]:
            return
        self._events.append(event)
        if len(self._events) >= MAX_EVENTS:
            self.flush()
        elif len(self._events) == 1:
            asyncio.get_running_loop().call_later(WINDOW, self.flush)

    def flush(self) -> None:
        events, self._events = self._events, []
        if events:
            self._tell(events)
