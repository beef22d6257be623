"""The only way out of the program that talks to registries: it has a network namespace with nothing in it but this.

What that program is told to reach comes from users, and what registries answer (redirects, places to fetch tokens) from
strangers. So names are resolved here, and a connection is made to an address that was checked, and to no other.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import structlog

from moonpool.engine.images.oci.model import FetchPolicy
from moonpool.engine.network.namespaces import in_own_thread, leave_for_new

PROXY_PORT = 3128
HEAD_LIMIT = 16 * 1024  # bytes
HEAD_TIMEOUT = 30.0  # seconds
CONNECT_TIMEOUT = 20.0  # seconds
CHUNK = 256 * 1024  # bytes
SET_FLAGS, INTERFACE_UP = 0x8914, 1  # SIOCSIFFLAGS, IFF_UP
BY_DEFAULT = {"http": 80, "https": 443}
HOP_BY_HOP = (b"proxy-", b"connection:", b"keep-alive:")

log = structlog.get_logger(__name__)


class Refused(Exception):
    """Said to the program behind the gate, which puts it into its own error."""


@dataclass(frozen=True)
class Gate:
    """``namespace`` is a descriptor of the network namespace."""

    namespace: int
    refusals: list[str]

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{PROXY_PORT}"


@contextlib.asynccontextmanager
async def opened(policy: FetchPolicy) -> AsyncIterator[Gate]:
    """A namespace and its gate, both gone at the end. Raises OSError where this machine cannot make one."""
    loopback = sorted({port for entry in policy.allowed | policy.insecure if (port := _loopback_port(entry))})
    namespace, listeners = await asyncio.to_thread(in_own_thread, lambda: _make([PROXY_PORT, *loopback]))
    passage = Passage(policy)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(os.close, namespace)
        for listener in listeners:
            stack.callback(listener.close)
        stack.push_async_callback(passage.close)
        for port, listener in zip([PROXY_PORT, *loopback], listeners, strict=True):
            serve = passage.proxy if port == PROXY_PORT else passage.straight(port)
            server = await asyncio.start_server(serve, sock=listener, limit=HEAD_LIMIT)
            stack.callback(server.close)
        yield Gate(namespace, passage.refusals)


def _loopback_port(registry: str) -> int | None:
    """Clients never use a proxy for their own machine: such a registry's port is listened on in the namespace."""
    host, _, port = registry.rpartition(":")
    return int(port) if host in ("localhost", "127.0.0.1") and port.isdigit() else None


def _make(ports: Iterable[int]) -> tuple[int, list[socket.socket]]:
    """In a thread of its own: sockets stay in the namespace in which they were made."""
    leave_for_new()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH14x", b"lo", INTERFACE_UP))
    listeners = []
    for port in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.setblocking(False)
        listeners.append(listener)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), listeners


class Passage:
    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self.refusals: list[str] = []
        self._busy: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._contained(self._proxy(reader, writer), writer)

    def straight(self, port: int) -> "Straight":
        return Straight(self, port)

    async def _contained(self, work: Awaitable[None], writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._busy.add(task)
        try:
            await work
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("gate_connection_ended", reason=str(error))
        finally:
            self._busy.discard(task)
            writer.close()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
        try:
            method, target, _version = first.decode("ascii").split(" ")
            host, port, path = where(method, target)
            remote = await self.connect(host, port)
        except (ValueError, Refused) as error:
            self.refusals.append(str(error))
            writer.write(f"HTTP/1.1 403 {error}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        except OSError as error:
            self.refusals.append(f"{host}:{port} cannot be reached: {error.strerror or error}")
            writer.write(b"HTTP/1.1 502 Cannot connect\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            kept = [line for line in lines if not line.lower().startswith(HOP_BY_HOP)]
            request = f"{method} {path} HTTP/1.1".encode()
            remote[1].write(b"\r\n".join([request, *kept, b"Connection: close", b"", b""]))
        await exchange((reader, writer), remote)

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to one of the host's addresses that may be reached. Refused, OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        private = self._policy.permits_private(host, port)
        usable = [address for address in addresses if private or is_public(address)]
        if not usable:
            raise Refused(f"{host} is at a private address, where images may not be fetched from")
        for address in usable[:-1]:
            with contextlib.suppress(OSError, TimeoutError):
                return await _connected(address, port)
        return await _connected(usable[-1], port)


@dataclass(frozen=True)
class Straight:
    """Hands connections to one port of this machine's own loopback."""

    passage: Passage
    port: int

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.passage._contained(self._hand_on(reader, writer), writer)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            remote = await _connected("127.0.0.1", self.port)
        except OSError as error:
            self.passage.refusals.append(f"localhost:{self.port} cannot be reached: {error.strerror or error}")
            return
        await exchange((reader, writer), remote)


def where(method: str, target: str) -> tuple[str, int, str]:
    """Host, port and path of a request to a proxy. ValueError."""
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        return host.strip("[]").lower(), int(port), ""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme not in BY_DEFAULT:
        raise ValueError("Not a request to a proxy")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon:
        host, port = authority, str(BY_DEFAULT[scheme])
    return host.strip("[]").lower(), int(port), slash + path or "/"


def is_public(address: str) -> bool:
    """Also what an address stands for that carries another one in it."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    if mapped is not None:
        parsed = mapped
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


async def _connected(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_TIMEOUT):
        return await asyncio.open_connection(address, port, limit=CHUNK)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def exchange(one: Ends, other: Ends) -> None:
    """Bytes both ways until one side is done in each direction."""
    try:
        await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))
    finally:
        other[1].close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
