"""Shell sessions: one shell that lives on between commands.

Nothing of a session is kept on this side: the shell is found by its process tag, its commands by their folders, so a
restart of the server or a pause of the sandbox changes nothing.
"""

import contextlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from moonpool.access.model import Principal
from moonpool.errors import FileNotFound, InvalidInput, ProcessEnded, ProcessNotFound
from moonpool.guest.model import ProcessSpec
from moonpool.processes.errors import SessionCommandCompleted, SessionExists, SessionNotFound
from moonpool.processes.model import CommandLogs, LogChunk, Sandboxes, SessionCommand, ShellSession, checked_name
from moonpool.processes.session_commands import (
    Shell,
    completion,
    describe,
    ended,
    exists,
    feed,
    grow,
    prepare_folder,
    read_command,
    read_logs,
    start_shell,
    stirring,
    write_text,
)
from moonpool.processes.session_shell import (
    INPUT_SCRIPT,
    KILL_TREE_SCRIPT,
    TAG,
    CommandFiles,
    folder_of,
    invocation,
    new_command_id,
)

ROOT_USER = "root"
INPUT_TIMEOUT = 10.0  # seconds for a command to take its input once the pipe is full


class ShellSessions:
    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._creating: set[tuple[str, str]] = set()

    async def create(self, principal: Principal, sandbox: str, session_id: str) -> None:
        """Raises SessionExists, also for a session that has ended and was not deleted."""
        checked_name(session_id, "sessionId")
        async with self._sandboxes.session(principal, sandbox) as session:
            key = (session.sandbox.id, session_id)
            if key in self._creating or await exists(session.agent, TAG + session_id):
                raise SessionExists(f"Session {session_id} exists already")
            self._creating.add(key)
            try:
                await prepare_folder(session.agent, session_id, session.sandbox.user)
                await start_shell(session.agent, session_id, session.sandbox.user)
            finally:
                self._creating.discard(key)

    async def list(self, principal: Principal, sandbox: str) -> list[ShellSession]:
        async with self._sandboxes.session(principal, sandbox) as session:
            infos = [info for info in await session.agent.processes() if (info.tag or "").startswith(TAG)]
            shells = [Shell((info.tag or "").removeprefix(TAG), session.agent, info) for info in infos]
            return [await describe(shell) for shell in shells]

    async def get(self, principal: Principal, sandbox: str, session_id: str) -> ShellSession:
        async with self._shell(principal, sandbox, session_id) as shell:
            return await describe(shell)

    async def delete(self, principal: Principal, sandbox: str, session_id: str) -> None:
        """Kills the shell and everything that descends from it, then forgets the commands and their output."""
        async with self._shell(principal, sandbox, session_id) as shell:
            agent, info = shell.agent, shell.info
            await agent.run(ProcessSpec(argv=("sh", "-c", KILL_TREE_SCRIPT, str(info.pid)), user=ROOT_USER))
            with contextlib.suppress(ProcessNotFound, ProcessEnded):
                await agent.signal(info.pid, signal.SIGKILL)
            await agent.wait(info.pid, None)
            await agent.forget(info.pid)
            with contextlib.suppress(FileNotFound):
                await agent.remove(folder_of(session_id), recursive=True)

    async def execute(
        self, principal: Principal, sandbox: str, session_id: str, text: str
    ) -> tuple[SessionCommand, CommandLogs]:
        """Run and wait. The shell goes on when the caller is cancelled: the command belongs to the session."""
        command_id = new_command_id()
        async with (
            self._shell(principal, sandbox, session_id) as shell,
            shell.agent.attach(shell.info.pid, replay=False) as events,
        ):
            shell.require_running()
            files = await write_text(shell, command_id, text)
            await feed(shell, files, invocation(files, background=False, echo_input=False))
            exit_code = await completion(events, command_id)
            return SessionCommand(command_id, text, exit_code), await read_logs(shell, command_id)

    async def execute_in_background(
        self, principal: Principal, sandbox: str, session_id: str, text: str, *, echo_input: bool
    ) -> SessionCommand:
        """Queue the command; it runs when those before it have ended. ``echo_input`` puts what is sent to it by
        ``send_input`` into its log as well."""
        command_id = new_command_id()
        async with self._shell(principal, sandbox, session_id) as shell:
            shell.require_running()
            files = await write_text(shell, command_id, text)
            await feed(shell, files, invocation(files, background=True, echo_input=echo_input))
        return SessionCommand(command_id, text, None)

    async def command(self, principal: Principal, sandbox: str, session_id: str, command_id: str) -> SessionCommand:
        async with self._shell(principal, sandbox, session_id) as shell:
            return await read_command(shell, command_id)

    async def send_input(self, principal: Principal, sandbox: str, session_id: str, command_id: str, data: str) -> None:
        """A line for a background command; a missing line end is added, as the vendor's server does.

        Raises SessionEnded, SessionCommandNotFound, SessionCommandCompleted.
        """
        line = data if data.endswith("\n") else data + "\n"
        async with self._shell(principal, sandbox, session_id) as shell:
            shell.require_running()
            command = await read_command(shell, command_id)
            if command.exit_code is not None:
                raise SessionCommandCompleted(f"Command has already completed with exit code {command.exit_code}")
            folder = CommandFiles.of(session_id, command_id).folder
            spec = ProcessSpec(argv=("sh", "-c", INPUT_SCRIPT, folder), user=shell.user, timeout=INPUT_TIMEOUT)
            result = await shell.agent.run(spec, stdin=line.encode(), output_limit=0)
            if result.timed_out:
                raise InvalidInput(
                    "The command takes no input: it was not started async, or does not read", field="data"
                )

    async def logs(self, principal: Principal, sandbox: str, session_id: str, command_id: str) -> CommandLogs:
        async with self._shell(principal, sandbox, session_id) as shell:
            await read_command(shell, command_id)
            return await read_logs(shell, command_id)

    @asynccontextmanager
    async def follow(
        self, principal: Principal, sandbox: str, session_id: str, command_id: str
    ) -> AsyncIterator[AsyncGenerator[LogChunk, None]]:
        """The command's output from its first byte on, until the command has ended."""
        files = CommandFiles.of(session_id, command_id)
        async with (
            self._shell(principal, sandbox, session_id) as shell,
            shell.agent.attach(shell.info.pid, replay=False) as events,
            ended(shell, events, command_id) as end,
            stirring(shell, files, end) as stirred,
            contextlib.aclosing(grow(shell, files, stirred, end)) as chunks,
        ):
            yield chunks

    @asynccontextmanager
    async def _shell(self, principal: Principal, sandbox: str, session_id: str) -> AsyncIterator[Shell]:
        async with self._sandboxes.session(principal, sandbox) as session:
            try:
                info = await session.agent.process(TAG + session_id)
            except ProcessNotFound:
                raise SessionNotFound(f"Session {session_id} not found") from None
            yield Shell(session_id, session.agent, info)
