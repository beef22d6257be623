"""A request's way to a running sandbox: one that sleeps on disk is woken once, however many ask."""

import asyncio
from collections.abc import Callable
from typing import Literal

from moonpool.errors import MoonpoolError, NoCapacity, SandboxNotFound, TransitionInProgress
from moonpool.previews.gateway.refusals import Refusal
from moonpool.previews.links import acting_for
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.model import TRANSITIONAL, Sandbox, SandboxState
from moonpool.sandboxes.service import SandboxService

PATIENCE = 30.0  # seconds that a request waits for its sandbox
COMING = frozenset({SandboxState.STARTING, SandboxState.RESUMING, SandboxState.RESTORING})

Wakes = Callable[[Sandbox, bool], bool]
"""Whether its owner wants this sandbox woken by a request; true as second argument: by a WebSocket."""
Policy = Literal["never", "paused", "stopped"]


class Waker:
    def __init__(self, sandboxes: SandboxService, background: Background, policy: Policy, wakes: Wakes) -> None:
        self._sandboxes = sandboxes
        self._background = background
        self._policy = policy
        self._wakes = wakes
        self._waking: dict[str, asyncio.Task[Sandbox]] = {}

    async def awake(self, sandbox: Sandbox, *, websocket: bool) -> Sandbox:
        """The sandbox, running; Refusal where it is not and may not be woken, or does not come in time."""
        if sandbox.state is SandboxState.RUNNING:
            return sandbox
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._running(sandbox, websocket)
        except TimeoutError:
            raise Refusal.starting() from None
        except TransitionInProgress:
            raise Refusal.starting() from None
        except SandboxNotFound:
            raise Refusal.denied() from None
        except NoCapacity as error:
            raise Refusal(503, error.code, error.message, error.hint, again=True) from error
        except MoonpoolError as error:
            raise Refusal(503, "sandbox_not_started", "The sandbox could not be started", error.hint) from error

    async def _running(self, sandbox: Sandbox, websocket: bool) -> Sandbox:
        owner = acting_for(sandbox)
        current = sandbox
        if current.state in TRANSITIONAL:
            current = await self._sandboxes.settled(owner, sandbox.id, timeout=PATIENCE)
        if current.state is SandboxState.RUNNING:
            return current
        if current.state in COMING:
            raise Refusal.starting()
        if not self._may_wake(current, websocket):
            raise Refusal.not_running(current.state)
        waking = self._waking.get(sandbox.id)
        if waking is None:
            waking = self._background.spawn(self._sandboxes.start(owner, sandbox.id), f"wake {sandbox.id}")
            self._waking[sandbox.id] = waking
            waking.add_done_callback(lambda _done: self._waking.pop(sandbox.id, None))
        return await asyncio.shield(waking)

    def _may_wake(self, sandbox: Sandbox, websocket: bool) -> bool:
        states = {
            "never": frozenset[SandboxState](),
            "paused": frozenset({SandboxState.PAUSED}),
            "stopped": frozenset({SandboxState.PAUSED, SandboxState.STOPPED}),
        }[self._policy]
        return sandbox.state in states and not sandbox.doomed and self._wakes(sandbox, websocket)
