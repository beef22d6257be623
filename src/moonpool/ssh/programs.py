"""Commands and shells of SSH clients: terminals, input and output, signals, exit codes."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncssh

from moonpool.errors import AgentTimeout, AgentUnavailable, CommandNotFound, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessInfo, ProcessSpec, TerminalSize

PIECE = 64 * 1024  # bytes of input at once
HANG_UP_GRACE = 5.0  # seconds for a program whose client has gone to end
SHELLS = (("bash", "-l"), ("sh", "-l"))
SENT_ALONG = ("LANG", "LC_")  # how names of variables begin that clients may set, as OpenSSH's server lets them
HIGHEST_SIZE = 10_000  # rows or columns
USUAL_SIZE = (80, 24)  # columns and rows, of a client that has no screen itself
Program = asyncssh.SSHServerProcess[bytes]


async def run(process: Program, agent: AgentClient, user: str | None = None) -> None:
    """As ``user``, or the sandbox's own, until the program ends, which its client is told, or the client goes, which
    the program is told."""
    for spec in specs(process, user):
        try:
            async with agent.start_and_attach(spec) as (info, events):
                await converse(process, agent, info, events)
            return
        except CommandNotFound:
            continue
    raise CommandNotFound("There is no shell in this sandbox")


def specs(process: Program, user: str | None) -> list[ProcessSpec]:
    """What to try, in this order."""
    env = {name: value for name, value in process.env.items() if name.startswith(SENT_ALONG)}
    if (key_socket := process.get_extra_info("key_socket")) is not None:
        env["SSH_AUTH_SOCK"] = key_socket
    terminal = None
    if process.term_type:
        env["TERM"] = process.term_type
        terminal = size_of(process.term_size)
    if process.command is not None:
        return [ProcessSpec(shell=process.command, env=env, stdin=True, terminal=terminal, user=user)]
    return [ProcessSpec(argv=shell, env=env, stdin=True, terminal=terminal, user=user) for shell in SHELLS]


def size_of(given: tuple[int, int, int, int]) -> TerminalSize:
    columns, rows = (min(number, HIGHEST_SIZE) or usual for number, usual in zip(given[:2], USUAL_SIZE, strict=True))
    return TerminalSize(rows, columns)


async def converse(
    process: Program, agent: AgentClient, info: ProcessInfo, events: AsyncIterator[ProcessEvent]
) -> None:
    typing = asyncio.create_task(feed(process, agent, info))
    showing = asyncio.create_task(show(process, events))
    gone = asyncio.create_task(process.wait_closed())
    try:
        await asyncio.wait({showing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if showing.done():
            await showing
        else:
            await hang_up(agent, info, showing)
    finally:
        tasks: list[asyncio.Task[Any]] = [typing, showing, gone]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hang_up(agent: AgentClient, info: ProcessInfo, showing: "asyncio.Task[None]") -> None:
    """As a terminal that was closed, or a connection that broke."""
    for number in (signal.SIGHUP, signal.SIGKILL):
        with contextlib.suppress(ProcessNotFound, ProcessEnded, AgentUnavailable, AgentTimeout):
            await agent.signal(info.pid, number)
        done, _ = await asyncio.wait({showing}, timeout=HANG_UP_GRACE)
        if done:
            return


async def show(process: Program, events: AsyncIterator[ProcessEvent]) -> None:
    """Output as fast as the client takes it, then how it ended."""
    async for event in events:
        if isinstance(event, Output):
            writer = process.stderr if event.stream == "stderr" else process.stdout
            with contextlib.suppress(BrokenPipeError, ConnectionError):
                writer.write(event.data)
                await writer.drain()
        else:
            say_end(process, event)


def say_end(process: Program, end: Exited) -> None:
    if end.signal is not None:
        name = signal.Signals(end.signal).name.removeprefix("SIG") if end.signal in signal.valid_signals() else "KILL"
        process.exit_with_signal(name)
    else:
        process.exit(end.exit_code)


async def feed(process: Program, agent: AgentClient, info: ProcessInfo) -> None:
    """Input, window sizes and signals, in the order in which they come."""
    with contextlib.suppress(ProcessEnded, ProcessNotFound, AgentUnavailable, AgentTimeout):
        while True:
            try:
                data = await process.stdin.read(PIECE)
            except asyncssh.TerminalSizeChanged as change:
                size = size_of((change.width, change.height, 0, 0))
                await agent.resize(info.pid, size.rows, size.cols)
            except asyncssh.SignalReceived as received:
                if (number := NUMBERS.get(received.signal)) is not None:
                    await agent.signal(info.pid, number)
            except asyncssh.BreakReceived:
                await agent.signal(info.pid, signal.SIGINT)
            else:
                if not data:
                    await agent.close_stdin(info.pid)
                    return
                await agent.write_stdin(info.pid, data)


NUMBERS: Mapping[str, int] = {number.name.removeprefix("SIG"): number.value for number in signal.Signals}
