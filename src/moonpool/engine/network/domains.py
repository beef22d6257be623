"""The slots of one server that may reach some domains only, and what their names have led to."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moonpool.engine.network.ruleset import Named

if TYPE_CHECKING:
    from moonpool.engine.network.names import Learn, Listener, NameServer

ADDRESSES = 4096  # of one slot; those that were named longest ago are closed again


@dataclass(eq=False)
class Reached:
    """One slot's name server, and the addresses that its names have led to, the one named last at the end."""

    listener: "Listener"
    addresses: dict[str, None] = field(default_factory=dict)

    @property
    def named(self) -> Named:
        return Named(self.listener.port, tuple(self.addresses))

    def add(self, addresses: Iterable[str]) -> tuple[list[str], list[str]]:
        """Which of these are new, and which others have to go for them."""
        new = []
        for address in addresses:
            if address not in self.addresses:
                new.append(address)
            self.addresses[address] = self.addresses.pop(address, None)
        surplus = list(self.addresses)[: max(0, len(self.addresses) - ADDRESSES)]
        for address in surplus:
            del self.addresses[address]
        return [address for address in new if address in self.addresses], surplus


class Domains:
    """Not thread-safe: `Network` calls it under its lock. A file for each slot tells the next server its domains."""

    def __init__(self, folder: Path, upstream: Callable[[], Sequence[str]], learn: "Learn") -> None:
        self._folder = folder
        self._upstream, self._learn = upstream, learn
        self._server: NameServer | None = None

    def open(self, number: int, domains: tuple[str, ...], addresses: Sequence[str] = ()) -> Reached:
        """Begin to answer a slot's questions; raises OSError."""
        listener = self._started().open(number, domains)
        self._keep(number, domains)
        return Reached(listener, dict.fromkeys(addresses))

    def replace(self, number: int, old: Reached | None, new: Reached | None) -> None:
        """Let go of the one, if it is not the other, which counts from now on."""
        if old is not new:
            self._keep(number, new.listener.domains if new is not None else ())
            if old is not None:
                self._started().close(old.listener)

    def kept(self, number: int) -> tuple[str, ...]:
        """What an earlier server was told; nothing where it was told nothing."""
        try:
            return tuple((self._folder / str(number)).read_text().split())
        except FileNotFoundError:
            return ()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, number: int, domains: Sequence[str]) -> None:
        file = self._folder / str(number)
        if domains:
            self._folder.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(domains))
        else:
            file.unlink(missing_ok=True)

    def _started(self) -> "NameServer":
        if self._server is None:
            from moonpool.engine.network.names import NameServer  # Few servers need it, and it takes long to load.

            self._server = NameServer(self._upstream, self._learn)
        return self._server
