"""Everything that can be asked of the agent in a sandbox.

Errors are those of `moonpool.errors`: what a program or file inside answers is a `GuestError`, a connection that is
lost fails every operation in progress with `AgentUnavailable`. A caller that is cancelled cancels its operation inside;
a `run` then loses its processes, while those of `start` live on.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from moonpool.errors import AccessDenied, GuestError, TooLarge
from moonpool.guest.connection import ANSWER_TIMEOUT, WORK_TIMEOUT, ClientConnection, ClientStream, connect, within
from moonpool.guest.model import (
    DeletedFile,
    DiskSize,
    FileEvent,
    FileInfo,
    GrepMatch,
    GrowthRound,
    GuestMetrics,
    Identity,
    Port,
    ProcessEvent,
    ProcessInfo,
    ProcessResult,
    ProcessSpec,
    ReplaceResult,
    SeenFile,
    Telemetry,
)
from moonpool.guest.process_documents import MAX_BODY, process_document, process_events, process_info
from moonpool.guest.protocol import (
    CHUNK,
    DATA,
    END,
    PAYLOADS,
    REPLY,
    WINDOW,
    Message,
    decode,
    each_parsed,
)
from moonpool.guest.streams import LARGE, ByteStream, FileReader, FileWriter, Lent, LentReader, Staging, StagingWriter
from moonpool.guest.units_client import UnitsClient
from moonpool.guest.watching import Connections, connections, file_events, port_lists
from moonpool.headroom import ensure_room

TOKEN_BYTES = 16  # of the word by which the agent knows a connection again
OUTPUT_LIMIT = 64 << 20  # bytes of output that `run` returns where the caller names no limit
MAX_COLLECTED = 4 * OUTPUT_LIMIT  # bytes of output, of all commands of a sandbox that are being run
AT_ONCE = 1000  # entries of a folder that are read before others have their turn
SMALL = 1 << 20  # bytes of a command's output that there is always room for
TO_A_FILE = "Send the output to a file, or run fewer such commands at once."
Selector = int | str
Pieces = list[bytes]
# Named here because the client has a method called "list".
Paths = list[str]
Matches = list[GrepMatch]
Replacements = list[ReplaceResult]
Rounds = list[GrowthRound]


class AgentClient:
    """One connection to one agent; any number of operations at once."""

    def __init__(self, connection: ClientConnection, address: str = "") -> None:
        self.address = address  # at which this sandbox is reached from here, and no other
        self._connection = connection
        self._token = b""
        self._collected = 0  # bytes of output that running commands have been read of
        self.units = UnitsClient(connection)
        self.closed = connection.closed
        self.staging: Staging | None = None  # set by whoever has the sandbox's disk at hand

    @classmethod
    async def connect(cls, address: str, port: int, secret: bytes, *, timeout: float) -> "AgentClient":
        """Go on trying for `timeout` seconds; AgentUnavailable or AgentTimeout when the agent does not let us in."""
        return cls(await connect(address, port, secret, timeout), address)

    @classmethod
    def unreached(cls, address: str) -> "AgentClient":
        """A closed one, for an agent that was not reached, as after ``hang_up``."""
        client = cls(ClientConnection(), address)
        client.hang_up()
        return client

    @property
    def open_streams(self) -> int:
        return len(self._connection.streams)

    async def close(self) -> None:
        """Close at once; operations in progress fail with AgentUnavailable."""
        self.hang_up()

    def hang_up(self) -> None:
        """``close``, for callers that cannot wait."""
        self._connection.abort(ConnectionResetError("closed by the client"))

    async def _call(self, operation: str, timeout: float = ANSWER_TIMEOUT, **fields: Any) -> dict[str, Any]:
        return (await self._connection.call(operation, fields, timeout=timeout)).document

    # -- the sandbox ------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        await self._call("ping")

    async def wait_alone(self) -> float | None:
        """Returns when no process but the agent is alive inside, however long that takes: with the seconds until
        something begins by itself, where there is such a thing."""
        answer = (await self._connection.call("wait_alone", {}, timeout=None)).document
        wakes_in: float | None = answer.get("wakes_in")
        return wakes_in

    def on_notice(self, tell: Callable[[bytes], None]) -> None:
        """``tell``, in place of any before, is called with what the agent speaks of: b"" (telemetry can be taken),
        DISKS (``show_disks`` is wanted) or IDLE_BOOT (``Identity.at_leisure`` would have been right)."""
        self._connection.noticed = tell

    async def show_disks(self, disks: Mapping[str, DiskSize]) -> None:
        """Tell programs inside how large their disks are, by where they are mounted."""
        sizes = {place: asdict(size) for place, size in disks.items()}
        await self._connection.call("show_disks", {}, json.dumps(sizes).encode())

    async def take_telemetry(self, kept: int) -> list[Telemetry]:
        """What programs inside have left after number ``kept``, which need not be kept for us any longer."""
        message = await self._connection.call("take_telemetry", {"kept": kept})
        taken, start = [], 0
        for item in message.document["items"]:
            end = start + int(item["size"])
            if not start <= end <= len(message.body):
                raise GuestError("The sandbox's telemetry is not as it says")
            body = message.body[start:end]
            taken.append(Telemetry(int(item["number"]), item["signal"], item["type"], item["encoding"], body))
            start = end
        return taken

    async def quiesce(self) -> bool:
        """Before a checkpoint: what was written is on disk, and the agent has no open connection when this returns.
        True when programs inside have TCP connections to the outside."""
        connected = bool((await self._call("quiesce", WORK_TIMEOUT))["connected"])
        self._connection.finish_writing()
        await within(ANSWER_TIMEOUT, self._wait_closed())
        return connected

    async def _wait_closed(self) -> None:
        await self.closed.wait()

    async def park(self) -> bool:
        """As `quiesce`, but operations in progress go on after `unpark`, and what is asked meanwhile waits for it."""
        self._token = secrets.token_bytes(TOKEN_BYTES)
        return bool((await self._connection.park(self._token)).document["connected"])

    async def unpark(self, address: str, port: int, secret: bytes, *, timeout: float) -> None:
        """Where that fails, operations in progress fail with AgentUnavailable, and this client is closed."""
        fresh = None
        try:
            fresh = await connect(address, port, secret, timeout)
            await self._connection.unpark(fresh, self._token)
        except BaseException:
            for connection in (fresh, self._connection):
                if connection is not None:
                    connection.abort(ConnectionResetError("the agent was not found again"))
            raise

    async def enter(self, root: str) -> None:
        """Make that folder the root of everything, with the sandbox's own /proc, /dev and /sys in it."""
        await self._call("enter", root=root)

    async def mount_volume(self, path: str, slot: int, *, again: bool = False) -> None:
        """Show what is mounted at /.volumes/SLOT at `path`; nothing to do where it is so. `again`: it is there anew."""
        await self._call("mount_volume", path=path, slot=slot, again=again)

    async def unmount_volume(self, path: str) -> None:
        """Undo it; VolumeInUse while a program uses something there."""
        await self._call("unmount_volume", path=path)

    async def thaw(self, identity: Identity) -> list[str]:
        """Give the sandbox its identity; what could not be done (the disk is full) is returned, a sentence each.
        From now on new connections need the new secret."""
        document = {
            "hostname": identity.hostname,
            "hosts": identity.hosts,
            "resolv_conf": identity.resolv_conf,
            "machine_id": identity.machine_id,
            "env": dict(identity.env),
            "user": identity.user,
            "group": identity.group,
            "workdir": identity.workdir,
            "time_unix": identity.time_unix,
            "processes": identity.processes,
            "cpu": identity.cpu,
            "memory": identity.memory_bytes,
            "at_leisure": identity.at_leisure,
        }
        message = await self._connection.call("thaw", document, identity.secret)
        return list(message.document["problems"])

    async def environment(self, set: Mapping[str, str] | None = None, unset: Sequence[str] = ()) -> dict[str, str]:
        """Change what every process from now on gets; returns the whole."""
        return dict((await self._call("environment", set=dict(set or {}), unset=list(unset)))["env"])

    async def limit(self, processes: int, *, cpu: float | None = None, memory_bytes: int | None = None) -> None:
        """Change how many processes and threads each ordinary user may have, for what is started from now on, and what
        programs are told of processors and memory."""
        await self._call("limit", processes=processes, cpu=cpu, memory=memory_bytes)

    async def ensure_user(
        self,
        name: str,
        *,
        uid: int | None = None,
        gid: int | None = None,
        home: str | None = None,
        shell: str | None = None,
        groups: Sequence[str] = (),
        system: bool = False,
        sudo: bool = False,
        full_name: str | None = None,
    ) -> None:
        """A user of that name, with a home folder and a group of its own where it is new; numbers are the next free
        ones. One that is there gets the home, shell and memberships that are named. `sudo`: may become root.

        Conflict: the user, or somebody else, has another or that number. UserNotFound: no such group. InvalidInput.
        """
        fields = {"name": name, "uid": uid, "gid": gid, "home": home, "shell": shell, "groups": list(groups)}
        await self._connection.call("ensure_user", {**fields, "system": system, "sudo": sudo, "full_name": full_name})

    async def ensure_group(self, name: str, gid: int | None = None, *, system: bool = False) -> None:
        """A group of that name; Conflict when it, or another one, has another or that number. InvalidInput."""
        await self._call("ensure_group", name=name, gid=gid, system=system)

    async def metrics(self) -> GuestMetrics:
        return GuestMetrics(**await self._call("metrics"))

    async def ports(self) -> list[Port]:
        return [Port(**port) for port in (await self._call("ports"))["ports"]]

    @asynccontextmanager
    async def watch_ports(self) -> AsyncIterator[AsyncIterator[tuple[Port, ...]]]:
        """The listening ports, at once and then whenever they have changed: some 200 ms later."""
        async with self._connection.streaming("watch_ports", {}) as stream:
            yield port_lists(stream)

    async def deleted_files(self) -> list[DeletedFile]:
        return [DeletedFile(**file) for file in (await self._call("deleted_files"))["files"]]

    @asynccontextmanager
    async def dial(self, port: int) -> AsyncIterator[ByteStream]:
        """A TCP connection to that port on the sandbox's loopback; PortClosed when nothing listens there."""
        async with self._connection.streaming("dial", {"port": port}) as stream:
            await within(ANSWER_TIMEOUT, stream.next())
            yield ByteStream(stream)

    @asynccontextmanager
    async def listen(self, port: int, *, user: str | None = None) -> AsyncIterator[tuple[int, Connections]]:
        """On that port of the sandbox's loopback (0: a free one), as ``user``: which it is, and connections as they
        come, each a number for ``take``. AccessDenied; GuestError where somebody listens there already; NotSupported
        by an agent from before there was this."""
        async with self._connection.streaming("listen", {"port": port, "user": user}) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            yield int(decode(item.payload).document["port"]), connections(stream)

    @asynccontextmanager
    async def listen_privately(self, *, user: str | None = None) -> AsyncIterator[tuple[str, Connections]]:
        """As ``listen``, on a socket that ``user`` alone reaches: its path."""
        async with self._connection.streaming("listen_privately", {"user": user}) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            yield str(decode(item.payload).document["path"]), connections(stream)

    @asynccontextmanager
    async def take(self, connection: int) -> AsyncIterator[ByteStream]:
        """A connection that ``listen`` told of; PortClosed when it has gone meanwhile."""
        async with self._connection.streaming("take", {"connection": connection}) as stream:
            await within(ANSWER_TIMEOUT, stream.next())
            yield ByteStream(stream)

    # -- processes --------------------------------------------------------------------------------------------------

    async def run(self, spec: ProcessSpec, *, stdin: bytes = b"", output_limit: int | None = None) -> ProcessResult:
        """Start it, wait for its end, give its output: one round trip. A caller that goes away ends it."""
        began = time.perf_counter()
        limit = OUTPUT_LIMIT if output_limit is None else output_limit
        document = process_document(spec)
        document["output_limit"] = limit
        if len(stdin) > MAX_BODY:
            raise TooLarge(f"More than {MAX_BODY} bytes of input")
        stream = self._connection.open("run", document, stdin)
        seconds = None if spec.timeout is None else spec.timeout + ANSWER_TIMEOUT
        try:
            output, errors, message = await within(seconds, self._collect(stream, limit))
        finally:
            self._connection.release(stream)
        answer, split = message.document, message.document["stdout"]
        return ProcessResult(
            exit_code=answer["exit_code"],
            signal=answer["signal"],
            timed_out=answer["timed_out"],
            stdout=b"".join((*output, message.body[:split])),
            stderr=b"".join((*errors, message.body[split:])),
            truncated=answer["truncated"],
            duration_ms=(time.perf_counter() - began) * 1000,
        )

    async def _collect(self, stream: ClientStream, limit: int) -> tuple[Pieces, Pieces, Message]:
        """Output that came ahead of the reply, then the reply. TooLarge where the server has no room for it."""
        output: Pieces = []
        errors: Pieces = []
        size = 0
        try:
            while (item := await stream.next()).kind != REPLY:
                if item.kind not in PAYLOADS:
                    continue
                (output if item.kind == DATA else errors).append(item.payload)
                size += len(item.payload)
                self._collected += len(item.payload)
                if size > limit + WINDOW or self._collected > MAX_COLLECTED:
                    raise TooLarge("The commands of this sandbox print too much at once", hint=TO_A_FILE)
                if size > SMALL:
                    ensure_room()
            return output, errors, decode(item.payload)
        finally:
            self._collected -= size

    async def start(self, spec: ProcessSpec) -> ProcessInfo:
        """Start it and leave it running, whatever becomes of this connection."""
        return process_info((await self._connection.call("start", process_document(spec))).document)

    @asynccontextmanager
    async def attach(self, selector: Selector, *, replay: bool = True) -> AsyncIterator[AsyncIterator[ProcessEvent]]:
        """Follow a process: what it has written (as far as it was kept), what it writes, how it ends. While somebody
        reads slowly, the process is slowed; while nobody reads, the oldest output is dropped."""
        async with self.find_and_attach(selector, replay=replay) as (_info, events):
            yield events

    @asynccontextmanager
    async def find_and_attach(
        self, selector: Selector, *, replay: bool = True
    ) -> AsyncIterator[tuple[ProcessInfo, AsyncIterator[ProcessEvent]]]:
        """As ``process`` and then ``attach``, in one round trip."""
        document = {"selector": selector, "replay": replay}
        async with self._connection.streaming("attach", document) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            info = process_info(decode(item.payload).document)
            yield info, process_events(stream, info)

    @asynccontextmanager
    async def ask(
        self, selector: Selector, question: bytes, seen: SeenFile | None = None
    ) -> AsyncIterator[tuple[ProcessInfo, AsyncIterator[ProcessEvent], bool]]:
        """As ``find_and_attach`` without what was written before, and ``question`` is written to its input in the same
        round trip: the whole of it or, where the process does not take that at once or ``seen`` is not so any more,
        nothing. The last says whether it was."""
        document: dict[str, Any] = {"selector": selector, "replay": False}
        if seen is not None:
            document |= {"path": seen.path, "user": seen.user, "seen": " ".join(map(str, seen.state))}
        stream = self._connection.open("attach", document, question)
        try:
            told = decode((await within(ANSWER_TIMEOUT, stream.next())).payload).document
            asked = bool(told.pop("asked", False))  # An agent from before there was this does not say, nor write.
            info = process_info(told)
            yield info, process_events(stream, info), asked
        finally:
            self._connection.release(stream)

    @asynccontextmanager
    async def start_and_attach(
        self, spec: ProcessSpec
    ) -> AsyncIterator[tuple[ProcessInfo, AsyncIterator[ProcessEvent]]]:
        """As ``start`` and then ``attach``, but nothing is dropped in between, however much it writes at once."""
        async with self._connection.streaming("start_and_attach", process_document(spec)) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            info = process_info(decode(item.payload).document)
            yield info, process_events(stream, info)

    async def write_stdin(self, selector: Selector, data: bytes) -> None:
        """Write all of it, waiting where the process does not read; ProcessEnded when it takes no input."""
        for start in range(0, len(data), CHUNK):
            document = {"selector": selector}
            await self._connection.call("write_stdin", document, data[start : start + CHUNK], timeout=WORK_TIMEOUT)

    async def close_stdin(self, selector: Selector) -> None:
        await self._call("close_stdin", selector=selector)

    async def signal(self, selector: Selector, signal: int, *, group: bool = True) -> None:
        await self._call("signal", selector=selector, signal=signal, group=group)

    async def resize(self, selector: Selector, rows: int, cols: int) -> None:
        await self._call("resize", selector=selector, rows=rows, cols=cols)

    async def processes(self) -> list[ProcessInfo]:
        """Those that `start` has started, the last 128 ended ones included."""
        return [process_info(process) for process in (await self._call("processes"))["processes"]]

    async def process(self, selector: Selector) -> ProcessInfo:
        return process_info(await self._call("process", selector=selector))

    async def wait(self, selector: Selector, timeout: float | None = None) -> ProcessInfo:
        """Its state at its end, or after `timeout` seconds, when it may still be running."""
        seconds = None if timeout is None else timeout + ANSWER_TIMEOUT
        message = await self._connection.call("wait", {"selector": selector, "timeout": timeout}, timeout=seconds)
        return process_info(message.document)

    async def retag(self, selector: Selector, tag: str) -> ProcessInfo:
        """Give it another tag, which no other process that is remembered may have (NameTaken)."""
        return process_info(await self._call("retag", selector=selector, tag=tag))

    async def forget(self, selector: Selector) -> None:
        """End it if it runs, and forget it and its output."""
        await self._call("forget", selector=selector)

    # -- files ------------------------------------------------------------------------------------------------------

    async def stat(self, path: str, *, follow: bool = True, user: str | None = None) -> FileInfo:
        return FileInfo(**await self._call("stat", path=path, follow=follow, user=user))

    async def list(self, path: str, depth: int = 1, *, user: str | None = None) -> list[FileInfo]:
        """What is below a folder, to that depth, sorted; TooLarge above some 80,000 entries."""
        document = {"path": path, "depth": depth, "user": user}
        message = await self._connection.call("list", document, timeout=WORK_TIMEOUT)
        try:
            entries: list[FileInfo] = []
            for number, entry in enumerate(each_parsed(message.body), 1):
                entries.append(FileInfo(**entry))
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
            return entries
        except (ValueError, TypeError, RecursionError) as error:
            raise GuestError("The sandbox lists what makes no sense") from error

    async def mkdir(
        self, path: str, mode: int = 0o755, parents: bool = True, exist_ok: bool = True, *, user: str | None = None
    ) -> FileInfo:
        answer = await self._call("mkdir", path=path, mode=mode, parents=parents, exist_ok=exist_ok, user=user)
        return FileInfo(**answer)

    async def move(self, source: str, target: str, overwrite: bool = True, *, user: str | None = None) -> FileInfo:
        answer = await self._call("move", WORK_TIMEOUT, source=source, target=target, overwrite=overwrite, user=user)
        return FileInfo(**answer)

    async def copy(
        self, source: str, target: str, recursive: bool = False, *, overwrite: bool = True, user: str | None = None
    ) -> FileInfo:
        """A file into a folder that is there, or else as `target`; a folder onto one that is there adds to it.
        FileExists when there is something at `target` that may not be overwritten."""
        document = {"source": source, "target": target, "recursive": recursive, "overwrite": overwrite, "user": user}
        return FileInfo(**(await self._connection.call("copy", document, timeout=WORK_TIMEOUT)).document)

    async def remove(self, path: str, recursive: bool = False, *, user: str | None = None) -> None:
        await self._call("remove", WORK_TIMEOUT, path=path, recursive=recursive, user=user)

    async def chmod(self, path: str, mode: int, *, user: str | None = None) -> None:
        await self._call("chmod", path=path, mode=mode, user=user)

    async def chown(
        self, path: str, owner: str | None = None, group: str | None = None, *, user: str | None = None
    ) -> None:
        await self._call("chown", path=path, owner=owner, group=group, user=user)

    @asynccontextmanager
    async def read(
        self, path: str, offset: int = 0, length: int | None = None, *, user: str | None = None
    ) -> AsyncIterator[FileReader]:
        """What there is of a file when it is opened; a large one comes by way of ``staging``, where there is that."""
        document = {"path": path, "offset": offset, "length": length, "user": user}
        lend = self.staging is not None and (length is None or length >= LARGE)
        async with self._connection.streaming("read", {**document, "lend": lend}) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            info = decode(item.payload).document
            place = info.pop("lent", None)
            if place is None:
                yield FileReader(stream, FileInfo(**info))
                return
        assert self.staging is not None
        lent = Lent.of(place)
        file = self.staging.lent(lent)
        try:
            if await within(WORK_TIMEOUT, file.open()):
                yield LentReader(file, FileInfo(**info), lent)
                return
        finally:
            await file.close()
        async with self._reading(document) as reader:
            yield reader

    @asynccontextmanager
    async def _reading(self, document: dict[str, Any]) -> AsyncIterator[FileReader]:
        async with self._connection.streaming("read", document) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            yield FileReader(stream, FileInfo(**decode(item.payload).document))

    @asynccontextmanager
    async def archive(
        self, path: str, *, excludes: Sequence[str] = (), user: str | None = None
    ) -> AsyncIterator[FileReader]:
        """A folder as a zip archive, made while it is read; `info` is the folder's. `excludes` as `watch` has them.

        Links are kept as links; what cannot be read is left out. NotADirectory; TooLarge, in the middle of it, when
        there are more than 100,000 entries.
        """
        document = {"path": path, "excludes": list(excludes), "user": user}
        async with self._connection.streaming("archive", document) as stream:
            item = await within(ANSWER_TIMEOUT, stream.next())
            yield FileReader(stream, FileInfo(**decode(item.payload).document))

    @asynccontextmanager
    async def write(
        self,
        path: str,
        *,
        mode: int | None = None,
        parents: bool = True,
        append: bool = False,
        size: int | None = None,
        user: str | None = None,
        or_root: bool = False,
    ) -> AsyncIterator[FileWriter]:
        """A file that appears whole, or not at all, when the context is left. An existing one keeps its mode and owner.
        With `size` the file is refused unless exactly so many bytes have come. `append` writes at once.

        `or_root`: root's file where the user may not write, if that is known only when all bytes have come (as it is
        with `staging`); earlier, AccessDenied is raised all the same.
        """
        document = {"path": path, "mode": mode, "parents": parents, "append": append, "size": size, "user": user}
        if self.staging is None or append or (size is not None and size < LARGE):
            async with self._writing(document) as writer:
                yield writer
            return
        staging = StagingWriter(self.staging, size)
        try:
            yield staging
            try:
                await self._lay(staging, document)
            except AccessDenied:
                if not or_root:
                    raise
                await self._lay(staging, {**document, "user": None})
        finally:
            if staging.staged is not None:
                await staging.staged.discard()

    async def _lay(self, staging: StagingWriter, document: dict[str, Any]) -> None:
        """Put what has come in its place."""
        if staging.staged is None:
            async with self._writing(document) as writer:
                await writer.write(b"".join(staging.waiting))
        else:
            await staging.finish()
            await self._call("place", WORK_TIMEOUT, staged=staging.staged.name, **document)

    @asynccontextmanager
    async def _writing(self, document: dict[str, Any]) -> AsyncIterator[FileWriter]:
        async with self._connection.streaming("write", document) as stream:
            yield FileWriter(stream)
            self._connection.send(END, stream.number)
            await within(WORK_TIMEOUT, stream.reply())

    @asynccontextmanager
    async def watch(
        self, path: str, *, recursive: bool = False, excludes: Sequence[str] = (), user: str | None = None
    ) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """What happens to a file, or in a folder (and with `recursive` in those below it), from now on: nothing that
        is done after the context is entered is missed. Ends when the folder itself is gone.

        `excludes`: patterns as `glob` takes them, or, with a slash at the beginning, of whole paths; folders that match
        are not watched. FileNotFound, AccessDenied, LimitExceeded (too many folders).
        """
        document = {"path": path, "recursive": recursive, "excludes": list(excludes), "user": user}
        async with self._connection.streaming("watch", document) as stream:
            await within(WORK_TIMEOUT, stream.next())
            yield file_events(stream)

    async def keep_order(self, path: str, names: Sequence[str], *, user: str | None = None) -> None:
        """From now on note in which order those files in the folder `path` grow, as far as there is memory for it."""
        await self._call("keep_order", path=path, names=list(names), user=user)

    async def order(self, path: str, since: int = 0, *, user: str | None = None) -> Rounds:
        """What was noted, without the first `since`; nothing where too much else was noted, or after a stop."""
        rounds = (await self._call("order", path=path, since=since, user=user))["rounds"]
        return [GrowthRound(tuple(order), tuple(grown)) for order, grown in rounds]

    async def glob(self, path: str, pattern: str, limit: int = 10_000, *, user: str | None = None) -> Paths:
        answer = await self._call("glob", WORK_TIMEOUT, path=path, pattern=pattern, limit=limit, user=user)
        return answer["paths"]  # type: ignore[no-any-return]

    async def grep(self, path: str, pattern: str, limit: int = 10_000, *, user: str | None = None) -> Matches:
        """Lines that contain the text `pattern`, in text files at or below `path`."""
        answer = await self._call("grep", WORK_TIMEOUT, path=path, pattern=pattern, limit=limit, user=user)
        return [GrepMatch(**match) for match in answer["matches"]]

    async def replace(self, files: Sequence[str], pattern: str, new: str, *, user: str | None = None) -> Replacements:
        """Put the text `new` in place of every text `pattern`."""
        answer = await self._call("replace", WORK_TIMEOUT, files=list(files), pattern=pattern, new=new, user=user)
        return [ReplaceResult(**result) for result in answer["results"]]
