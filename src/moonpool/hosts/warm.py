"""The warm checkpoint, made with this host's parts, and members that are made of it ahead of need."""

import asyncio
import contextlib
from collections.abc import Iterator

from moonpool.engine.gvisor import Warm, ensure_warm
from moonpool.engine.network import Slot
from moonpool.hosts.members import Foundry, LiveMember, connect
from moonpool.hosts.parts import Parts, Progress
from moonpool.hosts.warm_pool import WarmPool

BUILD_SLOT = 0  # members' slots begin at 1


def ensure_warm_image(parts: Parts, progress: Progress) -> Warm:
    """Blocking; under a second where it has to be made, milliseconds where it is there."""
    progress("Preparing the agent", 0.95)
    return ensure_warm(parts.driver, parts.agent.parent, lambda: _borrow_slot(parts), _quiesce)


def warm_members(foundry: Foundry, warm: Warm, target: int) -> WarmPool[LiveMember]:
    """Frozen ones with an empty root; one that dies while it waits is replaced."""

    async def make() -> LiveMember:
        member = await foundry.warm(warm.path, warm.secret)
        member.on_death(lambda: lose(member))
        return member

    def lose(member: LiveMember) -> None:
        member.hang_up()
        pool.lost(member)

    pool = WarmPool(make, foundry.retire, target)
    return pool


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
