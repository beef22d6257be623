"""One session's shell and its commands: how they are started, watched and read."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from moonpool.errors import CommandNotFound, FileNotFound, MoonpoolError, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, GrowthRound, Output, ProcessEvent, ProcessInfo, ProcessSpec
from moonpool.processes.errors import SessionCommandNotFound, SessionEnded
from moonpool.processes.interleaving import interleaved, spread
from moonpool.processes.model import CommandLogs, LogChunk, OutputStream, SessionCommand, ShellSession, checked_text
from moonpool.processes.session_shell import PRELUDE, ROOT, SHELLS, TAG, CommandFiles, folder_of

REPLAY_BYTES = 64 * 1024  # of the shell's own output, which is one short line a command
LOG_LIMIT = 16 * 1024 * 1024  # bytes of each stream that a reader of logs gets, the latest
TEXT_LIMIT = 32 * 1024 * 1024  # bytes of a command or status that are read back
SORTED_BYTES = 1024 * 1024  # of both outputs at once that are put in order for who follows them
CONCURRENT_READS = 16
STREAMS: tuple[OutputStream, ...] = ("stdout", "stderr")


@dataclass(frozen=True)
class Shell:
    """An open way to the shell of one session."""

    session_id: str
    agent: AgentClient
    info: ProcessInfo

    @property
    def user(self) -> str:
        return self.info.user

    def require_running(self) -> None:
        if not self.info.running:
            raise SessionEnded(exit_code=self.info.exit_code)


async def exists(agent: AgentClient, tag: str) -> bool:
    try:
        await agent.process(tag)
    except ProcessNotFound:
        return False
    return True


async def prepare_folder(agent: AgentClient, session_id: str, user: str) -> None:
    """An empty folder of the user's own. One may be left from before the sandbox was last stopped."""
    folder = folder_of(session_id)
    with contextlib.suppress(FileNotFound):
        await agent.remove(folder, recursive=True)
    await agent.mkdir(ROOT, 0o755, parents=True, exist_ok=True)
    await agent.mkdir(folder, 0o700, parents=False, exist_ok=False)
    await agent.chown(folder, user, None)


async def start_shell(agent: AgentClient, session_id: str, user: str) -> None:
    for argv in SHELLS:
        spec = ProcessSpec(argv=argv, user=user, stdin=True, tag=TAG + session_id, replay_bytes=REPLAY_BYTES)
        with contextlib.suppress(CommandNotFound):
            info = await agent.start(spec)
            await agent.write_stdin(info.pid, PRELUDE)
            return
    raise CommandNotFound("The sandbox has no shell")


async def write_text(shell: Shell, command_id: str, text: str) -> CommandFiles:
    files = CommandFiles.of(shell.session_id, command_id)
    data = checked_text(text, "command").encode(errors="surrogatepass")
    async with shell.agent.write(files.text, mode=0o600, parents=True, size=len(data), user=shell.user) as writer:
        await writer.write(data)
    return files


async def feed(shell: Shell, files: CommandFiles, line: bytes) -> None:
    """Have the shell run the command, and its outputs' order be noted from the first byte on."""
    try:
        # The agent takes requests up in the order in which they come.
        await asyncio.gather(note_order(shell, files), shell.agent.write_stdin(shell.info.pid, line))
    except (ProcessEnded, ProcessNotFound):
        raise SessionEnded from None


async def note_order(shell: Shell, files: CommandFiles) -> None:
    """A command runs without it just as well, as it does where an older agent comes out of saved memory."""
    with contextlib.suppress(MoonpoolError):
        await shell.agent.keep_order(files.folder, STREAMS, user=shell.user)


async def noted_order(shell: Shell, files: CommandFiles, since: int = 0) -> list[GrowthRound]:
    with contextlib.suppress(MoonpoolError):
        return await shell.agent.order(files.folder, since, user=shell.user)
    return []


async def completion(events: AsyncIterator[ProcessEvent], command_id: str) -> int:
    """The exit code of a command, read from the shell's own output; the shell's, when the command ended the shell."""
    prefix = f"{command_id} ".encode()
    pending = b""
    async for event in events:
        if isinstance(event, Exited):
            return event.exit_code
        if isinstance(event, Output) and event.stream == "stdout":
            *lines, pending = (pending + event.data).split(b"\n")
            for line in lines:
                if line.startswith(prefix):
                    return int(line.removeprefix(prefix))
    raise SessionEnded


async def describe(shell: Shell) -> ShellSession:
    limit = asyncio.Semaphore(CONCURRENT_READS)

    async def one(command_id: str) -> SessionCommand | None:
        async with limit:
            with contextlib.suppress(SessionCommandNotFound):
                return await read_command(shell, command_id)
        return None

    try:
        entries = await shell.agent.list(folder_of(shell.session_id))
    except FileNotFound:
        entries = []
    commands = await asyncio.gather(*(one(name) for name in sorted(entry.name for entry in entries)))
    return ShellSession(shell.session_id, tuple(command for command in commands if command))


async def read_command(shell: Shell, command_id: str) -> SessionCommand:
    files = require_id(shell.session_id, command_id)
    text, status = await asyncio.gather(read_file(shell, files.text), read_file(shell, files.status))
    if text is None:
        raise SessionCommandNotFound(f"Command {command_id} not found")
    return SessionCommand(command_id, text.decode(errors="replace"), exit_code(shell, status))


def exit_code(shell: Shell, status: bytes | None) -> int | None:
    """Of a command whose shell has ended without a word, the shell's own exit code is all there is."""
    if status and status.strip().isdigit():
        return int(status)
    return None if shell.info.running else shell.info.exit_code


def require_id(session_id: str, command_id: str) -> CommandFiles:
    if not command_id or "/" in command_id or "\0" in command_id or command_id.startswith("."):
        raise SessionCommandNotFound(f"Command {command_id!r} not found")
    return CommandFiles.of(session_id, command_id)


async def read_logs(shell: Shell, command_id: str) -> CommandLogs:
    files = CommandFiles.of(shell.session_id, command_id)
    rounds = await noted_order(shell, files)
    tails = await asyncio.gather(*(read_tail(shell, files.output(stream)) for stream in STREAMS))
    (stdout, start), (stderr, other_start) = tails
    pieces = interleaved((stdout, stderr), (start, other_start), rounds)
    chunks = tuple(LogChunk(STREAMS[index], data) for index, data in pieces)
    return CommandLogs(stdout, stderr, chunks, truncated=bool(start or other_start))


async def read_file(shell: Shell, path: str) -> bytes | None:
    """None where there is no such file: a command that waits has no output yet."""
    try:
        async with shell.agent.read(path, length=TEXT_LIMIT, user=shell.user) as reader:
            return b"".join([chunk async for chunk in reader])
    except FileNotFound:
        return None


async def read_tail(shell: Shell, path: str) -> tuple[bytes, int]:
    """The latest bytes of an output, and how many older ones there are."""
    start = 0
    try:
        while True:
            async with shell.agent.read(path, offset=start, length=LOG_LIMIT, user=shell.user) as reader:
                if start or reader.info.size <= LOG_LIMIT:
                    return b"".join([chunk async for chunk in reader]), start
                start = reader.info.size - LOG_LIMIT
    except FileNotFound:
        return b"", 0


@asynccontextmanager
async def ended(shell: Shell, events: AsyncIterator[ProcessEvent], command_id: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the command has ended. ``events`` must be attached before this looks at the files."""
    end = asyncio.Event()

    async def watch() -> None:
        with contextlib.suppress(MoonpoolError):
            await completion(events, command_id)
        end.set()

    watcher = asyncio.create_task(watch())
    try:
        if (await read_command(shell, command_id)).exit_code is not None:
            end.set()
        yield end
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


@asynccontextmanager
async def stirring(shell: Shell, files: CommandFiles, end: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever the command may have written something, and when it has ended."""
    stirred = asyncio.Event()

    async def pass_changes() -> None:
        async for _ in changes:
            stirred.set()

    async def pass_end() -> None:
        await end.wait()
        stirred.set()

    async with shell.agent.watch(files.folder, user=shell.user) as changes:
        watchers = [asyncio.create_task(pass_changes()), asyncio.create_task(pass_end())]
        try:
            yield stirred
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)


async def grow(
    shell: Shell, files: CommandFiles, stirred: asyncio.Event, end: asyncio.Event
) -> AsyncGenerator[LogChunk, None]:
    """What is in the files and what comes, up to the end; in the order in which it was written, as far as noted."""
    sent, noted, rounds_seen = [0] * len(STREAMS), [0] * len(STREAMS), 0
    while True:
        stirred.clear()
        last = end.is_set()
        rounds = await noted_order(shell, files, rounds_seen)
        rounds_seen += len(rounds)
        for one in rounds:
            noted = [place + count for place, count in zip(noted, one.grown, strict=True)]
            async for chunk in read_round(shell, files, sent, noted, one):
                yield chunk
        if last or not rounds:
            async for chunk in read_on(shell, files, sent, (None,) * len(STREAMS)):
                yield chunk
        if last:
            return
        await stirred.wait()


async def read_round(
    shell: Shell, files: CommandFiles, sent: list[int], ends: Sequence[int], noted: GrowthRound
) -> AsyncIterator[LogChunk]:
    """The files up to ``ends``: line by line in the round's order, or where that is much, one after the other."""
    chunks = read_on(shell, files, sent, ends)
    if len(noted.order) == 1 or sum(noted.grown) > SORTED_BYTES:
        async for chunk in chunks:
            yield chunk
        return
    fresh = dict.fromkeys(STREAMS, b"")
    async for chunk in chunks:
        fresh[chunk.stream] += chunk.data
    for index, data in spread(tuple(fresh.values()), noted.order):
        yield LogChunk(STREAMS[index], data)


async def read_on(
    shell: Shell, files: CommandFiles, sent: list[int], ends: Sequence[int | None]
) -> AsyncIterator[LogChunk]:
    """Each file from where it was ``sent`` to, which goes along, to its end (None) or to the one given."""
    for index, stream in enumerate(STREAMS):
        end = ends[index]
        length = None if end is None else end - sent[index]
        if length is None or length > 0:
            async for data in read_chunks(shell, files.output(stream), sent[index], length):
                sent[index] += len(data)
                yield LogChunk(stream, data)


async def read_chunks(shell: Shell, path: str, offset: int, length: int | None) -> AsyncIterator[bytes]:
    with contextlib.suppress(FileNotFound):
        async with shell.agent.read(path, offset=offset, length=length, user=shell.user) as reader:
            async for chunk in reader:
                yield chunk
