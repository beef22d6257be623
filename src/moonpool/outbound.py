"""Requests to addresses that users name: public ones, and networks that the operator allowed, and nothing else.

A name is resolved once, here, and the connection is made to an address that was checked. Redirects are not followed, no
proxy of the environment is asked, and what is read of an answer is bounded, as is its time.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore
import httpx

from moonpool.errors import InvalidInput

TIMEOUT = 15.0  # seconds for a whole request
MAX_BODY = 16 * 1024  # bytes read of an answer
MAX_URL = 2048  # characters
HIGHEST_PORT = 65535
MAX_CONNECTIONS = 128
RESOLVERS = 32  # names looked up at once: a name server that hangs holds up no other work of this process
RESOLVERS_EACH = 2  # of them for one team: its name servers hold up no other team's names
# They lead to an IPv4 address that is written inside of them.
TRANSLATED = tuple(IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))

# Public in form: a cloud's answers to its own machines, and what was private, or led to a relay, in earlier days.
NOT_PUBLIC = tuple(ip_network(network) for network in ("168.63.129.16/32", "192.88.99.0/24", "fec0::/10", "3fff::/20"))

HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")

Address = IPv4Address | IPv6Address
LookUp = Callable[[str, int], list[str]]
_owner: ContextVar[str] = ContextVar("owner")  # whose request it is that a connection is made for


class Unreachable(Exception):
    """No answer was had; the message names neither address nor path, since those may be secrets."""


class Forbidden(Unreachable):
    """All that the name leads to is private."""


@dataclass(frozen=True)
class Reply:
    """``body`` is at most ``MAX_BODY`` bytes of the answer, ``milliseconds`` how long it took."""

    status: int
    body: bytes
    milliseconds: int

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Rules:
    """Which addresses may be asked. ``public`` False: only the networks that the operator allowed."""

    def __init__(self, allowed: Iterable[str], *, public: bool = True) -> None:
        self._allowed = tuple(ip_network(network) for network in allowed)
        self._public = public

    def permit(self, text: str) -> bool:
        address = plain(ip_address(text.partition("%")[0]))
        if any(address in network for network in self._allowed):
            return True
        if not self._public or not address.is_global or address.is_multicast or address.is_reserved:
            return False
        if any(address in network for network in NOT_PUBLIC):
            return False
        translated = isinstance(address, IPv6Address) and any(address in network for network in TRANSLATED)
        return not translated and not own(address)


def plain(address: Address) -> Address:
    """An IPv4 address that came as ``::ffff:a.b.c.d`` is that address."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def own(address: Address) -> bool:
    """Whether it is one of this machine's: then it can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


class Turns:
    """Of one owner: who looks up a name, and who waits for that."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(RESOLVERS_EACH)
        self.users = 0


class Names:
    """Looks names up in threads, a few at once for each owner. A look-up cannot be broken off: it keeps its owner's
    turn until it ends, also where nobody waits for it any more."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="outbound names")
        self._turns: dict[str, Turns] = {}

    async def find(self, owner: str, host: str, port: int) -> list[str]:
        """OSError or UnicodeError where there is no such name."""
        turns = self._turns.setdefault(owner, Turns())
        turns.users += 1
        try:
            await turns.free.acquire()
        except BaseException:
            self._leave(owner, turns)
            raise
        looking = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)

        def ended(future: asyncio.Future[list[str]]) -> None:
            if not future.cancelled():
                future.exception()  # Whoever waited may be gone.
            turns.free.release()
            self._leave(owner, turns)

        looking.add_done_callback(ended)
        return await asyncio.shield(looking)

    def _leave(self, owner: str, turns: Turns) -> None:
        turns.users -= 1
        if not turns.users:
            del self._turns[owner]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Resolver:
    def __init__(self, rules: Rules, names: Names) -> None:
        self._rules, self._names = rules, names

    async def resolve(self, owner: str, host: str, port: int) -> str:
        """The first address of the name that may be asked. Unreachable; Forbidden where there is none."""
        try:
            found = await self._names.find(owner, host, port)
        except (OSError, UnicodeError) as error:
            raise Unreachable("The name was not found") from error
        permitted = [address for address in found if self._rules.permit(address)]
        if not permitted:
            raise Forbidden("The address is not public")
        return permitted[0]


def addresses(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@cache
def tls_context() -> ssl.SSLContext:
    """Trusts whom this machine trusts. To read all of those takes 30 ms, and many servers never ask anybody."""
    return ssl.create_default_context()


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to what the resolver gave; TLS still asks for the name."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self._resolver.resolve(_owner.get(), host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)


class Outbound:
    """``networks``: those that are not public and may be asked all the same; plain HTTP is for them alone. ``owner`` is
    the id of the team that a request is for."""

    def __init__(self, networks: Sequence[str] = (), look_up: LookUp | None = None) -> None:
        self._names = Names(look_up or addresses)
        self._resolvers = {
            "https": Resolver(Rules(networks), self._names),
            "http": Resolver(Rules(networks, public=False), self._names),
        }
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def close(self) -> None:
        self._names.close()
        for pool in self._pools.values():
            await pool.aclose()

    async def check(self, text: str, field: str, *, owner: str) -> str:
        """A URL that may be asked, as it is kept. InvalidInput for anything else. A name that is not there yet may
        come to be: it is let pass, and looked up with every request anyway."""
        url = parsed(text, field)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._resolvers[url.scheme].resolve(owner, url.host, url.port or default_port(url))
        except Forbidden:
            hint = "It has to be public, and https. The operator may allow networks by MOONPOOL_WEBHOOK_NETWORKS."
            raise InvalidInput(f"{field}: this address may not be asked", field=field, hint=hint) from None
        except (Unreachable, TimeoutError):
            pass
        return str(url)

    async def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes, *, owner: str) -> Reply:
        """Unreachable when there was no answer within ``TIMEOUT``."""
        target = parsed(url, "url")
        _owner.set(owner)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                status, body = await self._exchange(method, target, headers, content)
        except TimeoutError as error:
            raise Unreachable(f"No answer within {TIMEOUT:.0f} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Unreachable(reason(error)) from error
        return Reply(status, body, round((time.monotonic() - begun) * 1000))

    def _pool(self, scheme: str) -> httpcore.AsyncConnectionPool:
        if scheme not in self._pools:
            self._pools[scheme] = httpcore.AsyncConnectionPool(
                ssl_context=tls_context(),
                max_connections=MAX_CONNECTIONS,
                keepalive_expiry=5.0,
                network_backend=CheckedBackend(self._resolvers[scheme]),
            )
        return self._pools[scheme]

    async def _exchange(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, bytes]:
        asked = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        body = bytearray()
        async with self._pool(url.scheme).stream(
            method, asked, headers=[("Host", str(url.netloc, "ascii")), *headers.items()], content=content
        ) as answer:
            async for part in answer.aiter_stream():
                body += part[: MAX_BODY - len(body)]
                if len(body) >= MAX_BODY:
                    break
        return answer.status, bytes(body)


def parsed(text: str, field: str) -> httpx.URL:
    """InvalidInput for what is no http or https URL, or has a password in it."""
    try:
        url = httpx.URL(text) if len(text) <= MAX_URL and text.isprintable() else httpx.URL("")
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not HOST.fullmatch(url.raw_host.decode("ascii", "replace")):
        raise InvalidInput(f"{field}: an http or https URL of at most {MAX_URL} characters", field=field)
    if url.port is not None and not 0 < url.port <= HIGHEST_PORT:
        raise InvalidInput(f"{field}: a port is a number from 1 to {HIGHEST_PORT}", field=field)
    if url.userinfo or url.fragment:
        raise InvalidInput(f"{field}: without user, password and fragment", field=field)
    return url


def default_port(url: httpx.URL) -> int:
    return 443 if url.scheme == "https" else 80


def reason(error: Exception) -> str:
    """What a user may know: the kind of failure, in words that hold no address."""
    if isinstance(error, httpcore.ConnectTimeout):
        return "The connection timed out"
    if isinstance(error, httpcore.ConnectError):
        return "TLS failed" if isinstance(error.__cause__, ssl.SSLError) else "The connection was refused"
    if isinstance(error, httpcore.ProtocolError):
        return "The answer was no HTTP"
    return "The connection broke off"
