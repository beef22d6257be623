"""``fs/watch``: what happens to files is told to the client that asked, until it asks no more."""

import asyncio
from typing import Any

from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.following import Wanted, follow
from moonpool.dialects.codesandbox.pitcher.globs import choices
from moonpool.dialects.codesandbox.pitcher.paths import resolved
from moonpool.dialects.codesandbox.pitcher.place import cancel
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.ids import random_word

MAX_WATCHES = 256  # of all clients of one sandbox


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
