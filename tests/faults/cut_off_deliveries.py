"""A sender of webhooks that is killed at a step: DATABASE URL STEP; the last one has no step and goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from moonpool.clock import SystemClock
from moonpool.deliveries.model import NewEndpoint
from moonpool.deliveries.repository import DeliveryRepository
from moonpool.events.consumer import Consumer
from moonpool.outbound import Outbound
from moonpool.store.database import Store
from tests.unit.deliveries.conftest import started

# Before an event becomes rows, before a row is sent, and before it is noted that it arrived.
STEPS: dict[str, tuple[type, str]] = {
    "taken": (Consumer, "next"),
    "sent": (Outbound, "send"),
    "noted": (DeliveryRepository, "write"),
}


def die_before(owner: type, name: str, told: asyncio.Event) -> None:
    """Once ``told`` is set: what an earlier run left must not end this one before its own event is committed."""
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def killed(*arguments: Any, **named: Any) -> Any:
        if told.is_set():
            os.kill(os.getpid(), signal.SIGKILL)
        return await real(*arguments, **named)

    assert asyncio.iscoroutinefunction(real)
    setattr(owner, name, killed)


async def main(database: str, url: str, step: str) -> None:
    store = await Store.open(database)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        sending = await started(stack, store, SystemClock())  # type: ignore[arg-type]
        if not sending.webhooks.list(sending.admin):
            await sending.webhooks.create(sending.admin, NewEndpoint(url))
        if step:
            told = asyncio.Event()
            sending.events.listen(lambda event: told.set() if event.subject_id == step else None)
            die_before(*STEPS[step], told)
            await sending.tell(step)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
