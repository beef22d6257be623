"""Listening ports, and connections to them."""

import asyncio
import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ..protocol import CHUNK, DATA, END, EVENT, Stream, encode
from .errors import AgentError
from .request import Request
from .workers import Workers

LISTEN, INODE_FIELD = "0A", 9  # in the kernel's tables
LOOPBACK = ("127.", "::1", "::ffff:127.")
DIAL_TIMEOUT = 10.0  # seconds
LOOK_AGAIN = 0.2  # seconds between two looks at the listening ports, while somebody watches: no event tells of them
MOST_OF_THE_TIME = 10  # times as long as a look takes, nothing is done: there may be very many connections
MAX_PORTS = 1024  # that are told of
SOCKET = re.compile(r"socket:\[(\d+)\]")


class Network:
    """``own_ports`` are the agent's: nobody is told of them, and nobody is connected to them."""

    def __init__(self, workers: Workers, own_ports: frozenset[int]) -> None:
        self._workers = workers
        self._own_ports = own_ports

    async def ports(self, stream: Stream, request: Request) -> dict[str, Any]:
        return await self._workers.call(None, lambda: {"ports": _described(_listening(self._own_ports))})

    async def watch_ports(self, stream: Stream, request: Request) -> None:
        """The listening ports as a line of JSON, now and whenever they have changed. Looking is one small file; who
        listens is looked up only after a change."""
        seen: dict[tuple[int, str], str] | None = None
        while True:
            began = time.monotonic()
            found = _listening(self._own_ports)
            took = time.monotonic() - began
            if found != seen:
                seen = found
                ports = await self._workers.call(None, partial(_described, found))
                await stream.send_data(json.dumps({"ports": ports}).encode() + b"\n")
            await asyncio.sleep(max(LOOK_AGAIN, MOST_OF_THE_TIME * took))

    async def connected(self) -> bool:
        """Whether a program has a TCP connection to the outside."""
        return await self._workers.call(None, lambda: _has_connections(self._own_ports))

    async def dial(self, stream: Stream, request: Request) -> dict[str, Any]:
        """A connection to a port on the sandbox's own loopback, IPv4 first."""
        port = request.integer("port", 1, 0xFFFF)
        if port in self._own_ports:
            raise AgentError("port_closed", "this port is the agent's own")
        reader, writer = await _connect(port)
        stream.connection.send_message(EVENT, stream.number, encode({"port": port}))
        return await exchange(stream, reader, writer)


async def exchange(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
    """Bytes of a connection, both ways, until both are at their end or one is broken off."""
    try:
        inward = asyncio.ensure_future(_inward(stream, writer))
        try:
            while data := await reader.read(CHUNK):
                await stream.send_data(data)
            stream.connection.send(END, stream.number)
            await inward
            writer.close()
            await writer.wait_closed()  # What the other end has not read yet still goes out.
        except ConnectionError:
            return {"reset": True}
        finally:
            inward.cancel()
        return {"reset": False}
    finally:
        writer.transport.abort()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for address in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DIAL_TIMEOUT):
                return await asyncio.open_connection(address, port, limit=CHUNK)
    raise AgentError("port_closed", f"nothing listens on port {port}")


async def _inward(stream: Stream, writer: asyncio.StreamWriter) -> None:
    while (item := await stream.next()).kind != END:
        if item.kind == DATA:
            writer.write(item.payload)
            await writer.drain()
    if writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()


def _sockets() -> Iterator[tuple[socket.AddressFamily, list[str]]]:
    """The kernel's rows of TCP sockets: local address, remote address, state and the rest."""
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as table:
            for line in table.readlines()[1:]:
                if len(fields := line.split()) > INODE_FIELD:
                    yield family, fields


def _has_connections(own_ports: frozenset[int]) -> bool:
    for family, fields in _sockets():
        address, _, port = fields[1].partition(":")
        outside = not _address(address, family).startswith(LOOPBACK)
        if outside and fields[3] != LISTEN and int(port, 16) not in own_ports:
            return True
    return False


def _listening(own_ports: frozenset[int]) -> dict[tuple[int, str], str]:
    """The socket's number, by port and address."""
    found: dict[tuple[int, str], str] = {}
    for family, fields in _sockets():
        address, _, port = fields[1].partition(":")
        if fields[3] == LISTEN and int(port, 16) not in own_ports:
            found[int(port, 16), _address(address, family)] = fields[INODE_FIELD]
    return dict(sorted(found.items())[:MAX_PORTS])


def _described(found: dict[tuple[int, str], str]) -> list[dict[str, Any]]:
    owners = _owners(set(found.values()) - {"0"}) if found else {}
    return [
        {"port": port, "address": address, **owners.get(inode, {"pid": None, "process": None})}
        for (port, address), inode in found.items()
    ]


def _address(text: str, family: socket.AddressFamily) -> str:
    """The kernel writes an address as 32-bit words in the machine's byte order."""
    words = bytes.fromhex(text)
    ordered = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
    return socket.inet_ntop(family, ordered)


def _owners(inodes: set[str]) -> dict[str, dict[str, Any]]:
    """The process that holds each of these sockets."""
    owners: dict[str, dict[str, Any]] = {}
    for pid, _, target in open_files(other_processes()):
        match = SOCKET.fullmatch(target)
        if match and match[1] in inodes:
            owners.setdefault(match[1], {"pid": pid, "process": process_name(pid)})
    return owners


def other_processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def open_files(processes: Iterable[int]) -> list[tuple[int, str, str]]:
    """Process, descriptor and target of every open file."""
    found = []
    for pid in processes:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found.append((pid, descriptor, os.readlink(f"/proc/{pid}/fd/{descriptor}")))
    return found


def process_name(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None
