"""Ending every process of a group, without a race against process ids that are used again."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from moonpool.engine.cgroups.files import read_pids
from moonpool.errors import EngineError


def kill_all(procs: Path, let_die: Callable[[], None], timeout: float) -> None:
    """SIGKILL all of ``procs`` (a ``cgroup.procs`` file) and wait until none is left.

    ``let_die`` is called after each round, to thaw what is frozen. A process may fork while it is being killed, hence
    the rounds. Raises EngineError when something is alive after ``timeout`` seconds; where all have died meanwhile, it
    does not matter how long this process itself stood still.
    """
    deadline = time.monotonic() + timeout
    rounds = 0
    while pids := read_pids(procs):
        if rounds and time.monotonic() > deadline:
            raise EngineError(f"processes {pids} of {procs.parent.name} do not die")
        rounds += 1
        with contextlib.ExitStack() as stack:
            descriptors = []
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    descriptor = os.pidfd_open(pid)
                    stack.callback(os.close, descriptor)
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    descriptors.append(descriptor)
            let_die()
            _wait_for_exits(descriptors, deadline)


def _wait_for_exits(descriptors: list[int], deadline: float) -> None:
    waiting = set(descriptors)
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            poll.unregister(descriptor)
            waiting.discard(descriptor)
