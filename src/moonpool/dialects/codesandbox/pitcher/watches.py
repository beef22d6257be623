"""``fs/watch``: what happens to files is told to the client that asked, until it asks no more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.globs import choices
from moonpool.dialects.codesandbox.pitcher.paths import resolved
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState, MoonpoolError
from moonpool.guest.model import FileEvent
from moonpool.ids import random_word

MAX_WATCHES = 256  # of all clients of one sandbox
WINDOW = 0.02  # seconds in which events are gathered
MAX_EVENTS = 1000  # in one notification

TYPES = {"created": "add", "modified": "change", "attributes": "change", "deleted": "remove"}


@dataclass(frozen=True)
class Wanted:
    path: str
    recursive: bool
    excludes: tuple[str, ...]
    user: str


async def watch(call: Call) -> dict[str, Any]:
    """Raises FileNotFound and the like at once; the watch itself outlives a loss of the connection to the agent."""
    if sum(len(client.watches) for client in call.hub.place.clients) >= MAX_WATCHES:
        raise Failure(Code.RATE_LIMIT, f"A sandbox has at most {MAX_WATCHES} watches: end some first")
    params = call.params
    path = resolved(call.grant, params.text("path"))
    excludes = tuple(choice for pattern in params.texts("excludes") for choice in choices(pattern) if choice)
    wanted = Wanted(path, params.flag("recursive"), excludes, call.grant.user)
    watch_id = random_word(16)
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(events: list[dict[str, Any]]) -> None:
        call.client.notify("fs/watchEvent", {"watchId": watch_id, "events": events})

    task = asyncio.create_task(follow(call.hub.place, wanted, ready, tell), name=f"watch {watch_id}")
    call.client.watches[watch_id] = task
    task.add_done_callback(lambda done: forget(call, watch_id, done))
    try:
        await ready
    except BaseException:
        await cancel(task)
        raise
    return {"watchId": watch_id}


async def unwatch(call: Call) -> dict[str, Any]:
    """Also of one that has ended by itself, since its client cannot know."""
    await cancel(call.client.watches.pop(call.params.text("watchId"), None))
    return {}


def forget(call: Call, watch_id: str, task: "asyncio.Task[None]") -> None:
    call.client.watches.pop(watch_id, None)
    if not task.cancelled():
        task.exception()


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
