"""The name server of sandboxes that may reach only some domains.

Rules know addresses and no names. So such a sandbox's questions for names come here: those about its domains are asked
of the host's name servers, and the addresses in an answer are opened for the sandbox before it hears of them. Every
other question is answered at once, by "there is no such name", and goes nowhere.

Which sandbox asks is told by the port alone, since the rules lead each one to a port of its own on loopback.
"""

import asyncio
import errno
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

LOOPBACK = "127.0.0.1"
UPSTREAM_TIMEOUT = 2.0  # seconds, for each of the host's name servers
IDLE_TIMEOUT = 10.0  # seconds that a TCP connection may be silent, as most name servers allow
OPEN_QUESTIONS = 64  # of one sandbox at a time; what comes beyond is dropped, as a network drops it
OPEN_CONNECTIONS = 16  # of one sandbox
# A sandbox that floods is answered no faster than this, and the kernel drops the rest: the server has one interpreter.
AT_A_TIME, BREATH = 32, 0.02  # datagrams, and seconds until the next ones
STREAM_BREATH = 0.01  # seconds between two questions of a connection
RETRY_AFTER = 0.1  # seconds, where a socket cannot be read now
PAYLOAD = 1232  # bytes of an answer by UDP that fit everywhere, see dnsflagday.net/2020
PORTS_TRIED = 16
TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
LENGTH = struct.Struct("!H")

# slot, domains under which was asked, addresses: called in a thread of its own, before the answer is given
Learn = Callable[[int, tuple[str, ...], Sequence[str]], None]


def is_within(name: dns.name.Name, domains: Sequence[str]) -> bool:
    """Whether a name is one of the domains; ``*.example.com`` stands for every name below ``example.com``.

    Labels are compared and no text: a label may hold a dot.
    """
    for domain in domains:
        base = dns.name.from_text(domain.removeprefix("*."))
        if name.is_subdomain(base) and (name != base) == domain.startswith("*."):
            return True
    return False


@dataclass(eq=False)
class Listener:
    """Where one sandbox asks: a UDP and a TCP socket of the same port."""

    number: int
    domains: tuple[str, ...]
    port: int
    datagrams: socket.socket
    stream: socket.socket
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    questions: int = 0
    connections: int = 0


class NameServer:
    """Its methods may be called from any thread and never wait for an answer; questions are its own thread's work."""

    def __init__(self, upstream: Callable[[], Sequence[str]], learn: Learn) -> None:
        self._upstream, self._learn = upstream, learn
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="sandbox-names", daemon=True)
        self._thread.start()

    def open(self, number: int, domains: tuple[str, ...]) -> Listener:
        """A port at which a slot may ask for its domains; raises OSError."""
        datagrams, stream = _sockets()
        listener = Listener(number, domains, stream.getsockname()[1], datagrams, stream)
        self._loop.call_soon_threadsafe(self._begin, listener, self._datagrams(listener), datagrams)
        self._loop.call_soon_threadsafe(self._begin, listener, self._connections(listener), stream)
        return listener

    def close(self, listener: Listener) -> None:
        """Ends what is asked there; may be called twice."""
        self._loop.call_soon_threadsafe(self._end, listener)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _begin(self, listener: Listener, work: Coroutine[Any, Any, None], owned: socket.socket | None = None) -> None:
        """``owned`` is closed when the work has ended, also where it is ended before it began."""
        task = self._loop.create_task(work)
        listener.tasks.add(task)
        task.add_done_callback(listener.tasks.discard)
        if owned is not None:
            task.add_done_callback(lambda _: owned.close())

    def _end(self, listener: Listener) -> None:
        for task in listener.tasks:
            task.cancel()

    async def _datagrams(self, listener: Listener) -> None:
        while True:
            for _ in range(AT_A_TIME):
                try:
                    wire, peer = await self._loop.sock_recvfrom(listener.datagrams, PAYLOAD)
                except OSError:
                    break
                if listener.questions < OPEN_QUESTIONS:
                    self._begin(listener, self._by_datagram(listener, wire, peer))
                await asyncio.sleep(0)  # So that it counts: to read what is there already lets nobody else run.
            await asyncio.sleep(BREATH)

    async def _by_datagram(self, listener: Listener, wire: bytes, peer: tuple[str, int]) -> None:
        if answer := await self._answer(listener, wire, datagram=True):
            with suppress(OSError):
                await self._loop.sock_sendto(listener.datagrams, answer, peer)

    async def _connections(self, listener: Listener) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(listener.stream)
            except OSError:
                await asyncio.sleep(RETRY_AFTER)
                continue
            if listener.connections < OPEN_CONNECTIONS:
                self._begin(listener, self._by_stream(listener, connection), connection)
            else:
                connection.close()
            await asyncio.sleep(0)  # So that it counts.

    async def _by_stream(self, listener: Listener, connection: socket.socket) -> None:
        listener.connections += 1
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                with suppress(OSError, EOFError, TimeoutError):
                    while await self._next(listener, reader, writer):
                        pass
            finally:
                writer.transport.abort()
        finally:
            listener.connections -= 1

    async def _next(self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one question of a connection; False where what came is none."""
        async with asyncio.timeout(IDLE_TIMEOUT):
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            wire = await reader.readexactly(length)
        if not (answer := await self._answer(listener, wire, datagram=False)):
            return False
        writer.write(LENGTH.pack(len(answer)) + answer)
        async with asyncio.timeout(IDLE_TIMEOUT):
            await writer.drain()
        await asyncio.sleep(STREAM_BREATH)
        return True

    async def _answer(self, listener: Listener, wire: bytes, *, datagram: bool) -> bytes | None:
        """None: what came is no question."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return None
        listener.questions += 1
        try:
            answer = await self._resolved(listener, query)
        finally:
            listener.questions -= 1
        room = min(max(query.payload, 512), PAYLOAD) if datagram else 0
        return answer.to_wire(max_size=room, prefer_truncation=True)

    async def _resolved(self, listener: Listener, query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        if not is_within(question.name, listener.domains):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdclass != dns.rdataclass.IN or question.rdtype in TRANSFERS:
            answer.set_rcode(dns.rcode.REFUSED)
        elif found := await self._ask(question.name, question.rdtype):
            addresses = addresses_of(found)
            if addresses:
                await asyncio.to_thread(self._learn, listener.number, listener.domains, addresses)
            answer.set_rcode(found.rcode())
            answer.answer, answer.authority = found.answer, found.authority
        else:
            answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message | None:
        """What the first of the host's name servers says that says anything; nothing of the question but its name and
        kind is handed on, since the rest could carry messages."""
        for server in self._upstream():
            query = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD)
            with suppress(dns.exception.DNSException, OSError, EOFError):
                found, _ = await dns.asyncquery.udp_with_fallback(query, server, timeout=UPSTREAM_TIMEOUT)
                return found
        return None


def addresses_of(answer: dns.message.Message) -> list[str]:
    """The IPv4 addresses in an answer, in order."""
    return [record.address for found in answer.answer if found.rdtype == dns.rdatatype.A for record in found]


def _sockets() -> tuple[socket.socket, socket.socket]:
    """UDP and TCP on one port of loopback that is free for both."""
    for _ in range(PORTS_TRIED):
        stream = socket.create_server((LOOPBACK, 0))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(stream.getsockname())
        except OSError:
            datagrams.close()
            stream.close()
            continue
        stream.setblocking(False)
        datagrams.setblocking(False)
        return datagrams, stream
    raise OSError(errno.EADDRINUSE, "No port is free for a name server")
