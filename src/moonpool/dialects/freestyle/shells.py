"""Named terminals: a shell that is told its commands one by one, and shows them and what they print as a terminal does.

A command goes to the shell as a file, so that any length and any quoting work, and is sourced, so that folder and
environment persist. Where it begins and ends is marked in the terminal's own output, in order with everything else, by
control sequences that terminals pass over; they are taken out of what is shown.
"""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator

from moonpool.dialects.freestyle.lookup import folder_of
from moonpool.dialects.freestyle.mapping import FreestyleError, timed_out
from moonpool.dialects.freestyle.requests import Call
from moonpool.dialects.freestyle.schemas import ExecAwaitVmResponse
from moonpool.errors import FileNotFound, GuestError, InvalidInput, ProcessNotFound, TooLarge
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessInfo, ProcessSpec, TerminalSize
from moonpool.headroom import ensure_room
from moonpool.hosts.keyed_locks import KeyedLocks
from moonpool.ids import random_word
from moonpool.processes.model import checked_name, checked_text
from moonpool.processes.terminals import SCROLLBACK, TAG, TERM
from moonpool.sandboxes.model import AgentSession

OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes of one command
FOLDER = "/tmp"  # noqa: S108 (in the sandbox, under a random name)
MARK = re.compile(rb"\x1b\]777;moonpool;[^\x07\x1b]*\x07")
READY = b"\x1b]777;moonpool;ready\x07"
# Written for bash and for POSIX sh. A key press that ends a command must not end the shell.
DRIVER = r"""stty -echo 2>/dev/null
trap : INT
printf '\033]777;moonpool;ready\007'
while IFS= read -r __moonpool_file; do
  printf '$ %s\n' "$(cat "$__moonpool_file")"
  printf '\033]777;moonpool;begin;%s\007' "$__moonpool_file"
  . "$__moonpool_file"
  printf '\033]777;moonpool;end;%s;%d\007' "$__moonpool_file" "$?"
done
"""
ARGV = ("/bin/bash", "-c", DRIVER)


async def run_in_terminal(
    call: Call, session: AgentSession, name: str, command: str, seconds: float | None
) -> ExecAwaitVmResponse:
    """What a command prints in that terminal, which is made at its first. A command that takes too long ends with its
    terminal (EXEC_TIMED_OUT)."""
    checked_name(name, "terminal")
    checked_text(command, "command")
    locks: KeyedLocks = call.request.app.state.locks
    async with locks.hold(f"{session.sandbox.id}/{name}"):
        terminal, fresh = await opened(call, session, name)
        path = f"{FOLDER}/.moonpool-{random_word(20)}"
        async with session.agent.write(path, mode=0o600, user=terminal.user) as writer:
            await writer.write(command.encode() + b"\n")
        try:
            return await watched(session.agent, terminal, path, seconds, fresh=fresh)
        finally:
            with contextlib.suppress(FileNotFound):
                await session.agent.remove(path)


async def opened(call: Call, session: AgentSession, name: str) -> tuple[ProcessInfo, bool]:
    """The terminal, and whether it was made just now. SESSION_USER_MISMATCH when it is another user's."""
    agent, user = session.agent, call.linux_user or session.sandbox.user
    with contextlib.suppress(ProcessNotFound):
        info = await agent.process(TAG + name)
        if info.running:
            if info.argv != ARGV:
                raise InvalidInput(f"Terminal {name} was opened by other means", field="terminal")
            if info.user != user:
                message = f"Terminal {name} belongs to {info.user}"
                raise FreestyleError(403, "SESSION_USER_MISMATCH", message, session_id=name)
            return info, False
        await agent.forget(info.pid)
    spec = ProcessSpec(
        argv=ARGV,
        cwd=folder_of(call, session.sandbox),
        env={"TERM": TERM},
        user=user,
        tag=TAG + name,
        terminal=TerminalSize(),
        replay_bytes=SCROLLBACK,
    )
    return await agent.start(spec), True


async def watched(
    agent: AgentClient, terminal: ProcessInfo, path: str, seconds: float | None, *, fresh: bool
) -> ExecAwaitVmResponse:
    try:
        async with asyncio.timeout(seconds), agent.attach(terminal.pid, replay=fresh) as events:
            if fresh:
                await until_ready(events)
            await agent.write_stdin(terminal.pid, path.encode() + b"\n")
            output, status = await outcome(events, path.encode())
    except TimeoutError:
        with contextlib.suppress(GuestError):
            await agent.signal(terminal.pid, signal.SIGKILL)
        raise timed_out(seconds) from None
    text = output.decode(errors="replace").replace("\r\n", "\n")
    return ExecAwaitVmResponse(stdout=text, stderr="", statusCode=status)


async def until_ready(events: AsyncIterator[ProcessEvent]) -> None:
    seen = b""
    async for event in events:
        if isinstance(event, Output):
            seen += event.data
            if READY in seen:
                return
            seen = seen[-len(READY) :]


async def outcome(events: AsyncIterator[ProcessEvent], name: bytes) -> tuple[bytes, int]:
    """What stands between the marks, and the status in the second; the shell's own where it ended before."""
    begin = b"\x1b]777;moonpool;begin;" + name + b"\x07"
    end = re.compile(rb"\x1b\]777;moonpool;end;" + re.escape(name) + rb";(\d+)\x07")
    seen, looked = bytearray(), 0
    async for event in events:
        if isinstance(event, Exited):
            return bytes(seen.partition(begin)[2]), event.exit_code
        seen += event.data
        if found := end.search(seen, max(0, looked - len(begin) - 8)):
            return bytes(seen[: found.start()].partition(begin)[2]), int(found[1])
        looked = len(seen)
        ensure_room()
        if looked > OUTPUT_LIMIT:
            raise TooLarge(f"The command printed more than {OUTPUT_LIMIT // 1024 // 1024} MiB")
    raise ProcessNotFound("The terminal is gone")
