"""Sockets that are listened on for services: who comes first has them started.

With ``Accept=no`` the service gets the sockets themselves, with ``Accept=yes`` each connection has a service of its
own, an instance of a template.
"""

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import AgentError
from ..users import Users
from . import syntax
from .names import whole
from .settings import general_specifier
from .syntax import BadSetting
from .trigger import Trigger
from .unit import Unit
from .unit_files import Definition

SECTION = "Socket"
KINDS = {
    "ListenStream": socket.SOCK_STREAM,
    "ListenDatagram": socket.SOCK_DGRAM,
    "ListenSequentialPacket": socket.SOCK_SEQPACKET,
}
FIFO = "ListenFIFO"
NOT_HERE = ("ListenSpecial", "ListenNetlink", "ListenMessageQueue", "ListenUSBFunction")
BACKLOG = 4096
MAX_CONNECTIONS = 64
TRIGGER_INTERVAL, TRIGGERS, TRIGGERS_OF_EACH = 2.0, 20, 200  # seconds, starts; starts where each has its own


@dataclass(frozen=True)
class Passed:
    """What a service is started with: descriptors, the name of each, and what is told in variables."""

    descriptors: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SocketRules:
    """``addresses``: a key of ``KINDS`` or ``FIFO``, and what stands behind it."""

    target: str
    addresses: tuple[tuple[str, str], ...]
    accept: bool
    name: str
    user: str
    group: str
    mode: int
    folder_mode: int
    backlog: int
    most: int
    remove: bool
    only_v6: bool
    shared_port: bool
    links: tuple[str, ...]


class SocketUnit(Trigger):
    """``on_traffic`` gets the unit whose service is to be started, and for ``Accept=yes`` the connection."""

    def __init__(
        self, definition: Definition, users: Users, find: Callable[[str], Unit], say: Callable[[str, str], None]
    ) -> None:
        self.rules: SocketRules | None = None
        self.on_traffic: Callable[[SocketUnit, socket.socket | None], None] = lambda unit, connection: None
        self.accepted = 0
        self.connections = 0  # that have a service now
        self._users = users
        self._descriptors: list[int] = []
        self._sockets: list[socket.socket] = []
        self._pipes: list[int] = []
        self._made: list[str] = []
        self._listening = False
        self._recent: deque[float] = deque(maxlen=TRIGGERS_OF_EACH)
        super().__init__(definition, find, say)

    def _understand(self) -> None:
        definition = self.definition

        def text(key: str, default: str) -> str:
            return syntax.expand(definition.last(SECTION, key, default), general_specifier)

        addresses = tuple(
            (key, syntax.expand(value, general_specifier))
            for key in (*KINDS, FIFO)
            for value in definition.all(SECTION, key)
        )
        strange = [key for key in NOT_HERE if definition.all(SECTION, key)]
        if strange or not addresses:
            raise BadSetting(f"{strange[0]}= is not there in a sandbox" if strange else "Unit has no Listen setting")
        for key, address in addresses:
            if key != FIFO:
                _parsed(address)
        accept = syntax.flag(text("Accept", "no"))
        stem = self.name.removesuffix(".socket")
        self.rules = SocketRules(
            whole(text("Service", f"{stem}@.service" if accept else f"{stem}.service")),
            addresses,
            accept,
            text("FileDescriptorName", "connection" if accept else self.name),
            text("SocketUser", "root"),
            text("SocketGroup", ""),
            int(text("SocketMode", "0666"), 8) & 0o777,
            int(text("DirectoryMode", "0755"), 8) & 0o777,
            int(text("Backlog", str(BACKLOG))),
            int(text("MaxConnections", str(MAX_CONNECTIONS))),
            syntax.flag(text("RemoveOnStop", "no")),
            text("BindIPv6Only", "default") == "ipv6-only",
            syntax.flag(text("ReusePort", "no")),
            tuple(definition.names(SECTION, "Symlinks")),
        )

    @property
    def ruled(self) -> SocketRules:
        assert self.rules is not None
        return self.rules

    @property
    def triggers(self) -> str | None:
        return None if self.rules is None or self.rules.accept else self.rules.target

    @property
    def passed(self) -> Passed:
        return Passed(tuple(self._descriptors), (self.ruled.name,) * len(self._descriptors))

    def _read_related(self, keys: tuple[str, ...]) -> list[str]:
        """It is there before its service."""
        found = super()._read_related(keys)
        return [*found, self.triggers] if "Before" in keys and self.triggers else found

    # -- what it does ---------------------------------------------------------------------------------------------

    async def start(self) -> str:
        if self.is_active:
            return "done"
        if self.triggers is not None and self._find(self.triggers).is_active:
            return self.fail("resources", f"Socket service {self.triggers} already active, refusing.")
        self.result = "success"
        try:
            for key, address in self.ruled.addresses:
                self._open(key, address)
            for link in self.ruled.links:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link)
                os.symlink(self.ruled.addresses[0][1], link)
                self._made.append(link)
        except (OSError, AgentError) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
            return self.fail("resources", f"Failed to listen: {reason}")
        self._listen()
        return "done"

    def follow(self) -> None:
        """Its service has changed: once that is over, it is listened for again."""
        if self.triggers is None:
            return
        service = self._find(self.triggers)
        if not self.is_active:
            return
        if not service.at_rest:
            self._deaf()
            if self.sub == "listening":
                self.set("active", "running")
        elif service.limited:
            self.fail("service-start-limit-hit", f"{service.name} was started too often.")
        elif not self._listening:
            self._listen()

    def left(self) -> None:
        """A connection's service has ended."""
        self.connections -= 1

    # -- its sockets ----------------------------------------------------------------------------------------------

    def _open(self, key: str, address: str) -> None:
        rule = self.ruled
        if address.startswith("/"):
            os.makedirs(os.path.dirname(address), rule.folder_mode, exist_ok=True)
        if key == FIFO:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(address, rule.mode)
            self._pipes.append(os.open(address, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW))
            self._descriptors.append(self._pipes[-1])
            self._give(address)
            return
        family, where = _parsed(address)
        made = socket.socket(family, KINDS[key])
        self._sockets.append(made)
        self._descriptors.append(made.fileno())
        made.setblocking(False)
        if family in (socket.AF_INET, socket.AF_INET6):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if rule.shared_port:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, rule.only_v6)
        if address.startswith("/"):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(address).st_mode):
                    os.unlink(address)
        made.bind(where)
        if address.startswith("/"):
            self._give(address)
        if KINDS[key] != socket.SOCK_DGRAM:
            made.listen(min(rule.backlog, BACKLOG))

    def _give(self, path: str) -> None:
        """To its owner, by a path that nobody else could make a link: it is not followed."""
        self._made.append(path)
        user = self._users.named(self.ruled.user)
        gid = self._users.group(self.ruled.group) if self.ruled.group else user.gid
        os.chown(path, user.uid, gid, follow_symlinks=False)
        os.chmod(path, self.ruled.mode)

    def _close(self) -> None:
        self._deaf()
        for each in self._sockets:
            each.close()
        for number in self._pipes:
            os.close(number)
        remove = self.ruled.remove if self.rules else False
        for path in self._made if remove else ():
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._sockets, self._pipes, self._descriptors, self._made = [], [], [], []

    def _listen(self) -> None:
        self._listening = True
        for number in self._descriptors:
            asyncio.get_running_loop().add_reader(number, self._came, number)
        self.set("active", "listening")

    def _deaf(self) -> None:
        if self._listening:
            for number in self._descriptors:
                asyncio.get_running_loop().remove_reader(number)
        self._listening = False

    def _came(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        most = TRIGGERS_OF_EACH if self.ruled.accept else TRIGGERS
        self._recent.append(now)
        if sum(now - moment < TRIGGER_INTERVAL for moment in self._recent) >= most:
            self.fail("trigger-limit-hit", "Trigger limit hit, refusing further activation.")
            return
        listener = next((each for each in self._sockets if each.fileno() == number), None)
        if not self.ruled.accept or listener is None or listener.type == socket.SOCK_DGRAM:
            self._deaf()
            self.set("active", "running")
            self.on_traffic(self, None)
            return
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            if self.connections >= self.ruled.most:
                self._say(self.name, f"Too many incoming connections ({self.connections}), dropping connection.")
                connection.close()
                return
            connection.setblocking(True)
            self.connections += 1
            self.on_traffic(self, connection)


@dataclass(frozen=True)
class Visit:
    """A connection that has a service of its own."""

    unit: SocketUnit
    connection: socket.socket


def joined(several: Iterable[Passed]) -> Passed:
    descriptors: list[int] = []
    names: list[str] = []
    for each in several:
        descriptors += each.descriptors
        names += each.names
    return Passed(tuple(descriptors), tuple(names))


def instance_name(unit: SocketUnit, connection: socket.socket) -> str:
    """Of the service for one connection: its number, and who speaks with whom."""
    number, unit.accepted = unit.accepted, unit.accepted + 1
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        ends = [f"{host}:{port}" for host, port, *_ in (connection.getsockname(), connection.getpeername())]
    else:
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        ends = [str(pid), str(uid)]
    stem = unit.ruled.target.removesuffix(".service").rstrip("@")
    return f"{stem}@{'-'.join([str(number), *ends])}.service"


def remote_of(connection: socket.socket) -> dict[str, str]:
    """The variables that tell who has connected."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return {}
    with contextlib.suppress(OSError):
        host, port, *_ = connection.getpeername()
        return {"REMOTE_ADDR": host.removeprefix("::ffff:"), "REMOTE_PORT": str(port)}
    return {}


def _parsed(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """A path, an abstract name behind an at sign, a port, or an address with one. BadSetting."""
    if address.startswith("/"):
        return socket.AF_UNIX, address
    if address.startswith("@"):
        return socket.AF_UNIX, "\0" + address[1:]
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 0xFFFF:
        raise BadSetting(f"Failed to parse address value: {address[:100]}")
    if host:
        bare = host.strip("[]")
        return (socket.AF_INET6 if ":" in bare else socket.AF_INET), (bare, int(port))
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
        return socket.AF_INET6, ("::", int(port))
    return socket.AF_INET, ("0.0.0.0", int(port))  # noqa: S104 - what the unit asks for
