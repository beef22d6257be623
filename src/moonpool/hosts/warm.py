"""The warm checkpoint, made with this host's parts."""

import asyncio
import contextlib
from collections.abc import Iterator

from moonpool.engine.gvisor import Warm, ensure_warm
from moonpool.engine.network import Slot
from moonpool.hosts.members import connect
from moonpool.hosts.parts import Parts, Progress

BUILD_SLOT = 0  # members' slots begin at 1


def ensure_warm_image(parts: Parts, progress: Progress) -> Warm:
    """Blocking; under a second where it has to be made, milliseconds where it is there."""
    progress("Preparing the agent", 0.95)
    return ensure_warm(parts.driver, parts.agent.parent, lambda: _borrow_slot(parts), _quiesce)


@contextlib.contextmanager
def _borrow_slot(parts: Parts) -> Iterator[Slot]:
    parts.network.destroy(BUILD_SLOT)
    try:
        yield parts.network.create(BUILD_SLOT)
    finally:
        parts.network.destroy(BUILD_SLOT)


def _quiesce(slot: Slot, secret: str) -> None:
    async def run() -> None:
        agent = await connect(slot, secret)
        await agent.quiesce()

    asyncio.run(run())
