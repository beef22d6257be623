"""Commands and background processes, for every dialect. No database on this path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from moonpool.access.model import Principal
from moonpool.guest.model import ProcessEvent, ProcessInfo, ProcessResult, ProcessSpec
from moonpool.processes.model import Sandboxes, checked_environment, checked_text, checked_timeout

OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes kept of a command's output; what comes after is read and dropped


class ProcessService:
    """A spec without a user runs as the sandbox's own; without a folder, in that user's home."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    async def run(
        self,
        principal: Principal,
        sandbox: str,
        spec: ProcessSpec,
        *,
        stdin: bytes = b"",
        output_limit: int = OUTPUT_LIMIT,
    ) -> ProcessResult:
        """Run to the end. When the caller is cancelled the command's process group is killed.

        Raises WorkingDirectoryNotFound, CommandNotFound, UserNotFound, ProcessLimitReached, InvalidInput.
        """
        check(spec)
        async with self._sandboxes.session(principal, sandbox) as session:
            return await session.agent.run(
                with_user(spec, session.sandbox.user), stdin=stdin, output_limit=output_limit
            )

    async def start(self, principal: Principal, sandbox: str, spec: ProcessSpec) -> ProcessInfo:
        """Run in the background; its output is kept, bounded, for late readers."""
        check(spec)
        async with self._sandboxes.session(principal, sandbox) as session:
            return await session.agent.start(with_user(spec, session.sandbox.user))

    async def list(self, principal: Principal, sandbox: str) -> list[ProcessInfo]:
        async with self._sandboxes.session(principal, sandbox) as session:
            return await session.agent.processes()

    async def get(self, principal: Principal, sandbox: str, selector: int | str) -> ProcessInfo:
        """``selector`` is a pid or a tag, here and below; raises ProcessNotFound."""
        async with self._sandboxes.session(principal, sandbox) as session:
            return await session.agent.process(selector)

    async def wait(
        self, principal: Principal, sandbox: str, selector: int | str, timeout: float | None = None
    ) -> ProcessInfo:
        async with self._sandboxes.session(principal, sandbox) as session:
            return await session.agent.wait(selector, timeout)

    async def signal(
        self, principal: Principal, sandbox: str, selector: int | str, signal: int, *, group: bool = True
    ) -> None:
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.signal(selector, signal, group=group)

    async def forget(self, principal: Principal, sandbox: str, selector: int | str) -> None:
        """Drop what is kept of an ended process."""
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.forget(selector)

    async def write_stdin(self, principal: Principal, sandbox: str, selector: int | str, data: bytes) -> None:
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.write_stdin(selector, data)

    async def close_stdin(self, principal: Principal, sandbox: str, selector: int | str) -> None:
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.close_stdin(selector)

    async def resize(self, principal: Principal, sandbox: str, selector: int | str, rows: int, columns: int) -> None:
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.resize(selector, rows, columns)

    @asynccontextmanager
    async def attach(
        self, principal: Principal, sandbox: str, selector: int | str, *, replay: bool = True
    ) -> AsyncIterator[AsyncIterator[ProcessEvent]]:
        """Its output from the start (as far as it is kept) or from now on, then its exit."""
        async with (
            self._sandboxes.session(principal, sandbox) as session,
            session.agent.attach(selector, replay=replay) as events,
        ):
            yield events


def check(spec: ProcessSpec) -> None:
    for part in (spec.shell, spec.cwd, *(spec.argv or ())):
        checked_text(part or "", "command")
    checked_environment(spec.env)
    checked_timeout(spec.timeout)


def with_user(spec: ProcessSpec, user: str) -> ProcessSpec:
    return spec if spec.user else replace(spec, user=user)
