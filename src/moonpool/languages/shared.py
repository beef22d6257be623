"""What this server knows of the language servers that run in sandboxes, for all who speak with one."""

import asyncio
import contextlib
import signal
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moonpool.cancellation import to_the_end
from moonpool.errors import GuestError, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.languages.documents import Documents
from moonpool.languages.errors import LanguageServerGone, LanguageServerTimeout, gone
from moonpool.languages.messages import framed

SERVERS_KEPT = 1000  # that are remembered; forgetting costs a file's opening again
WRITE_TIMEOUT = 10.0  # seconds for a server to take a message
TOOK_NOTHING = "The language server took no message, and was ended"


@dataclass
class Shared:
    """One server's process. ``introduced`` is its answer to ``initialize``, where this server heard it; ``members`` are
    the clients that stay connected, and ``spokesman`` the one of them that answers what the server asks."""

    documents: Documents = field(default_factory=Documents)
    pid: int | None = None
    introduced: Mapping[str, Any] | None = None
    members: set[str] = field(default_factory=set)
    spokesman: str | None = None
    deaf: int | None = None  # the process that was ended because it took no message
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, agent: AgentClient, pid: int, message: Mapping[str, Any]) -> None:
        """One whole message, whoever else writes, and whether or not its writer is cancelled: half of one would make
        nonsense of all that follow. LanguageServerGone; LanguageServerTimeout, which ends the server."""
        await to_the_end(self._write(agent, pid, framed(message)))

    async def _write(self, agent: AgentClient, pid: int, data: bytes) -> None:
        async with self.turn:
            try:
                async with asyncio.timeout(WRITE_TIMEOUT):
                    await agent.write_stdin(pid, data)
            except (ProcessEnded, ProcessNotFound) as error:
                raise LanguageServerGone from error
            except TimeoutError:
                self.deaf = pid  # Its clients may hear of the end before the signal is answered.
                with contextlib.suppress(ProcessEnded, ProcessNotFound):
                    await agent.signal(pid, signal.SIGKILL)
                raise LanguageServerTimeout(TOOK_NOTHING) from None

    def end_of(self, pid: int, complaints: bytes) -> GuestError:
        """Why a server's output has ended; ``complaints`` is what it has written about it."""
        return LanguageServerTimeout(TOOK_NOTHING) if self.deaf == pid else gone(complaints)


class Shelf:
    """By sandbox and tag; the longest unused are forgotten, but not those with clients."""

    def __init__(self) -> None:
        self._all: OrderedDict[tuple[str, str], Shared] = OrderedDict()

    def of(self, sandbox: str, tag: str) -> Shared:
        shared = self._all.setdefault((sandbox, tag), Shared())
        self._all.move_to_end((sandbox, tag))
        while len(self._all) > SERVERS_KEPT and (idle := self._idle()) is not None:
            del self._all[idle]
        return shared

    def forget(self, sandbox: str, tag: str) -> None:
        self._all.pop((sandbox, tag), None)

    def _idle(self) -> tuple[str, str] | None:
        return next((key for key, shared in self._all.items() if not shared.members), None)
