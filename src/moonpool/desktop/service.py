"""Use cases of a desktop: its processes, and the ways to its screen, mouse, keyboard, films and elements."""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from moonpool.access.model import Principal
from moonpool.desktop.accessibility import Accessibility
from moonpool.desktop.controls import Controls
from moonpool.desktop.errors import DesktopFailed, DesktopNotStarted, DesktopToolMissing
from moonpool.desktop.model import (
    COMMANDS,
    ENVIRONMENT,
    FOLDER,
    LEAST,
    MOST,
    NEEDS,
    RESOLUTION,
    Part,
    PartStatus,
)
from moonpool.desktop.programs import run
from moonpool.desktop.recordings import Recordings
from moonpool.desktop.screen import Screen
from moonpool.errors import FileNotFound, InvalidInput, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessInfo, ProcessSpec
from moonpool.processes.model import Sandboxes
from moonpool.sandboxes.model import AgentSession

TAG = "desktop:"
READY_TIMEOUT = 30.0  # seconds for the screen to say that it is there
END_TIMEOUT = 5.0  # seconds for a process to end before it is killed
LOG_LIMIT = 256 * 1024  # bytes of a log that are shown
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
NEEDED = ("Xvfb", "openbox", "x11vnc", "websockify", "xdotool")


class DesktopService:
    """Every method raises DesktopToolMissing where the image has not what it needs."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        # Starts and stops of one desktop wait for each other; a lock lives as long as somebody holds or awaits it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self, principal: Principal, sandbox: str) -> tuple[PartStatus, ...]:
        """What runs already is left alone. InvalidInput for a size of the screen that is none."""
        async with self._alone(principal, sandbox) as session:
            await check_programs(session)
            check_resolution(await session.agent.environment(ENVIRONMENT))
            await session.agent.mkdir(FOLDER, 0o700, parents=False, exist_ok=True, user=session.sandbox.user)
            for part in Part:
                await begin(session, part)
            return await statuses(session)

    async def stop(self, principal: Principal, sandbox: str) -> tuple[PartStatus, ...]:
        async with self._alone(principal, sandbox) as session:
            for part in reversed(Part):
                await end(session.agent, part)
            return await statuses(session)

    async def restart(self, principal: Principal, sandbox: str, part: Part) -> None:
        """With those that run and cannot go on without it. DesktopNotStarted, where the screen does not run."""
        async with self._alone(principal, sandbox) as session:
            known = {each.part for each in await statuses(session) if each.running}
            if part is not Part.SCREEN and Part.SCREEN not in known:
                raise DesktopNotStarted
            check_resolution(await session.agent.environment())
            again = [each for each in Part if each is part or (each in known and part in NEEDS[each])]
            for each in reversed(again):
                await end(session.agent, each)
            for each in again:
                await begin(session, each)

    async def status(self, principal: Principal, sandbox: str) -> tuple[PartStatus, ...]:
        async with self._sandboxes.session(principal, sandbox) as session:
            return await statuses(session)

    async def log(self, principal: Principal, sandbox: str, part: Part, *, errors: bool = False) -> bytes:
        """The end of what a part has written to standard output, or to standard error; of its last run."""
        async with self._sandboxes.session(principal, sandbox) as session:
            try:
                path = log_path(part, errors=errors)
                size = (await session.agent.stat(path, user=session.sandbox.user)).size
                offset = max(0, size - LOG_LIMIT)
                async with session.agent.read(path, offset, LOG_LIMIT, user=session.sandbox.user) as reader:
                    return b"".join([chunk async for chunk in reader])
            except FileNotFound:
                return b""

    @asynccontextmanager
    async def screen(self, principal: Principal, sandbox: str) -> AsyncIterator[Screen]:
        async with self._sandboxes.session(principal, sandbox) as session:
            yield Screen(session)

    @asynccontextmanager
    async def controls(self, principal: Principal, sandbox: str) -> AsyncIterator[Controls]:
        async with self._sandboxes.session(principal, sandbox) as session:
            yield Controls(session)

    @asynccontextmanager
    async def recordings(self, principal: Principal, sandbox: str) -> AsyncIterator[Recordings]:
        async with self._sandboxes.session(principal, sandbox) as session:
            yield Recordings(session)

    @asynccontextmanager
    async def accessibility(self, principal: Principal, sandbox: str) -> AsyncIterator[Accessibility]:
        async with self._sandboxes.session(principal, sandbox) as session:
            yield Accessibility(session)

    @asynccontextmanager
    async def _alone(self, principal: Principal, sandbox: str) -> AsyncIterator[AgentSession]:
        async with self._sandboxes.session(principal, sandbox) as session:
            lock = self._locks.setdefault(session.sandbox.id, asyncio.Lock())
            async with lock:
                yield session


async def check_programs(session: AgentSession) -> None:
    script = 'for program; do command -v "$program" >/dev/null || echo "$program"; done'
    missing = (await run(session, "sh", "-c", script, "sh", *NEEDED)).decode().split()
    if missing:
        raise DesktopToolMissing(f"Not installed in this sandbox: {', '.join(missing)}")


def check_resolution(environment: Mapping[str, str]) -> None:
    wanted = environment.get(RESOLUTION)
    sides = [int(side) for side in found.groups()] if (found := SIZE.fullmatch(wanted or "")) else []
    if wanted and not (sides and all(LEAST <= side <= MOST for side in sides)):
        raise InvalidInput(
            f"{RESOLUTION} must be WIDTHxHEIGHT, each from {LEAST} to {MOST} pixels",
            field=RESOLUTION,
            hint="It is a variable of the sandbox.",
        )


def log_path(part: Part, *, errors: bool) -> str:
    return f"{FOLDER}/{part}.{'err' if errors else 'log'}"


async def find(agent: AgentClient, part: Part) -> ProcessInfo | None:
    try:
        return await agent.process(TAG + part)
    except ProcessNotFound:
        return None


def running(info: ProcessInfo | None) -> bool:
    return info is not None and info.running


async def statuses(session: AgentSession) -> tuple[PartStatus, ...]:
    known = {info.tag: info for info in await session.agent.processes() if info.running}
    found = {part: known.get(TAG + part) for part in Part}
    return tuple(PartStatus(part, info is not None, info.pid if info else None) for part, info in found.items())


async def begin(session: AgentSession, part: Part) -> None:
    """Start a part that does not run; of the screen, wait until it is there."""
    if running(await find(session.agent, part)):
        return
    log, err = log_path(part, errors=False), log_path(part, errors=True)
    output = f"2>'{err}'" if part is Part.SCREEN else f">'{log}' 2>'{err}'"
    command = ("sh", "-c", f"exec {output}; {COMMANDS[part]}")
    spec = ProcessSpec(argv=command, env=ENVIRONMENT, user=session.sandbox.user, tag=TAG + part)
    if part is not Part.SCREEN:
        await session.agent.start(spec)
        return
    async with session.agent.start_and_attach(spec) as (_, events):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT):
                async for event in events:
                    if isinstance(event, Output):
                        return
                    if isinstance(event, Exited):
                        break
    raise DesktopFailed("The screen did not start", hint=f"See {err} in the sandbox.")


async def end(agent: AgentClient, part: Part) -> None:
    if (info := await find(agent, part)) is None or not info.running:
        return
    with contextlib.suppress(ProcessNotFound, ProcessEnded):
        await agent.signal(info.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT):
                await agent.wait(info.pid)
                return
        await agent.signal(info.pid, signal.SIGKILL)
        await agent.wait(info.pid, END_TIMEOUT)
