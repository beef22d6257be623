"""A forwarded port whose client goes while it is being opened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from moonpool.sandboxes.model import AgentSession
from moonpool.ssh.forwarding import ForwardedPort
from moonpool.ssh.model import Visitor

LIMIT = 60.0  # seconds


async def test_what_nobody_waits_for_any_more_is_not_opened() -> None:
    begun, given_up = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def visit(_visitor: Visitor) -> AsyncIterator[AgentSession]:
        """Of a sandbox that does not answer."""
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
            raise AssertionError
            yield
        finally:
            given_up.set()

    opening = asyncio.create_task(ForwardedPort(visit, Visitor("token", "sandbox"), 8000).open())
    async with asyncio.timeout(LIMIT):
        await begun.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await given_up.wait()
