"""One request and its answer, spoken with a server that runs in a sandbox.

Nobody stays connected to a server between requests: so it survives pauses, forks and restarts of this process, and what
it says meanwhile (diagnostics) is nobody's. Clients declare no capability that makes a server ask something of them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from moonpool.errors import ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent
from moonpool.ids import new_uuid
from moonpool.languages.errors import (
    LanguageServerFailed,
    LanguageServerGone,
    LanguageServerTimeout,
    RequestNotOffered,
)
from moonpool.languages.messages import Frames, Message, framed

REQUEST_TIMEOUT = 60.0  # seconds; the first completion reads a whole library
LAST_WORDS = 2000  # bytes of what a server that ended had written about it
METHOD_NOT_FOUND = -32601  # of JSON-RPC


class Conversation:
    """``events`` is the server's output from now on."""

    def __init__(self, agent: AgentClient, tag: str, events: AsyncIterator[ProcessEvent]) -> None:
        self._agent = agent
        self._tag = tag
        self._events = events
        self._frames = Frames()
        self._complaints = b""

    async def notify(self, method: str, parameters: Mapping[str, Any]) -> None:
        await self._send({"method": method, "params": parameters})

    async def request(self, method: str, parameters: Mapping[str, Any] | None) -> Any:
        """The result; LanguageServerFailed, LanguageServerGone, LanguageServerTimeout, RequestNotOffered."""
        number = new_uuid()  # Answers to other conversations' requests are none to this one.
        await self._send({"id": number, "method": method, "params": parameters})
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                answer = await self._answer(number)
        except TimeoutError:
            await self.notify("$/cancelRequest", {"id": number})
            raise LanguageServerTimeout(f"No answer to {method} within {REQUEST_TIMEOUT:.0f} seconds") from None
        if error := answer.get("error"):
            kind = RequestNotOffered if error.get("code") == METHOD_NOT_FOUND else LanguageServerFailed
            raise kind(str(error.get("message")))
        return answer.get("result")

    async def _answer(self, number: str) -> Message:
        async for event in self._events:
            if isinstance(event, Exited):
                break
            for message in self._heard(event):
                if message.get("id") == number and "method" not in message:
                    return message
                if "id" in message and "method" in message:
                    refusal = {"code": METHOD_NOT_FOUND, "message": "Not offered by this client"}
                    await self._send({"id": message["id"], "error": refusal})
        said = self._complaints.decode(errors="replace").strip()
        raise LanguageServerGone(f"The language server ended: {said}" if said else LanguageServerGone.default)

    def _heard(self, event: Output) -> list[Message]:
        if event.stream == "stderr":
            self._complaints = (self._complaints + event.data)[-LAST_WORDS:]
            return []
        return list(self._frames.feed(event.data))

    async def _send(self, message: Mapping[str, Any]) -> None:
        try:
            await self._agent.write_stdin(self._tag, framed(message))
        except (ProcessEnded, ProcessNotFound) as error:
            raise LanguageServerGone from error
