"""Changes of state that are under way: one a sandbox at a time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moonpool.errors import TransitionInProgress
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.model import Sandbox


class Operation(StrEnum):
    CREATE = "create"
    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    DESTROY = "destroy"
    ARCHIVE = "archive"
    RESTORE = "restore"
    FORK = "fork"
    CAPTURE = "capture"
    CHANGE = "change"
    RECOVER = "recover"


BRIEF = frozenset({Operation.FORK, Operation.CAPTURE})
"""They leave the sandbox what it is, so whatever else is asked of it meanwhile waits for their end."""

Accept = Callable[[Sandbox], None]
Observer = Callable[[Operation, float, BaseException | None], None]
Work = Callable[[Accept], Coroutine[Any, Any, Sandbox]]


@dataclass(frozen=True)
class Flight:
    """``accepted`` has the sandbox as soon as the change is written, ``task`` once it is over."""

    operation: Operation
    accepted: asyncio.Future[Sandbox]
    task: asyncio.Task[Sandbox]

    async def outcome(self, *, wait: bool) -> Sandbox:
        """Cancelling whoever waits here leaves the work alone."""
        return await asyncio.shield(self.task if wait else self.accepted)


class Flights:
    """``landed`` is called with a sandbox's id right after its change is over, before another can begin."""

    def __init__(self, background: Background, landed: Callable[[str], None]) -> None:
        self._background = background
        self._call_landed = landed
        self._observe: Observer = lambda _operation, _seconds, _error: None
        self._flights: dict[str, Flight] = {}

    def observe(self, observer: Observer) -> None:
        """Tell ``observer`` of each change that is over, with how long it took and what it raised."""
        self._observe = observer

    def get(self, sandbox_id: str) -> Flight | None:
        return self._flights.get(sandbox_id)

    def refuse(self, sandbox_id: str) -> None:
        """TransitionInProgress when a change of this sandbox is under way."""
        if flight := self._flights.get(sandbox_id):
            raise TransitionInProgress(f"Sandbox state change in progress ({flight.operation})")

    def launch(self, sandbox_id: str, operation: Operation, work: Work) -> Flight:
        """Begin ``work`` as the only change of this sandbox; TransitionInProgress when there is one already."""
        self.refuse(sandbox_id)
        accepted: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()

        def accept(sandbox: Sandbox) -> None:
            if not accepted.done():
                accepted.set_result(sandbox)

        begun = time.perf_counter()
        task = self._background.spawn(work(accept), f"{operation} {sandbox_id}")
        flight = Flight(operation, accepted, task)
        self._flights[sandbox_id] = flight
        task.add_done_callback(lambda done: self._landed(sandbox_id, flight, done))
        task.add_done_callback(lambda done: self._observe(operation, time.perf_counter() - begun, error_of(done)))
        return flight

    async def settled(self, sandbox_id: str) -> None:
        """Wait until no change of this sandbox is under way."""
        while flight := self._flights.get(sandbox_id):
            await asyncio.wait({flight.task})

    def _landed(self, sandbox_id: str, flight: Flight, task: asyncio.Task[Sandbox]) -> None:
        del self._flights[sandbox_id]
        if not flight.accepted.done():
            pass_on(task, flight.accepted)
        self._call_landed(sandbox_id)


def error_of(task: asyncio.Task[Sandbox]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def pass_on(task: asyncio.Task[Sandbox], accepted: asyncio.Future[Sandbox]) -> None:
    if task.cancelled():
        accepted.cancel()
    elif error := task.exception():
        accepted.set_exception(error)
        accepted.exception()  # Whoever waits for the task hears of it; asyncio need not complain.
    else:
        accepted.set_result(task.result())
