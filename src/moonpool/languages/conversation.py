"""One request and its answer, spoken with a server that runs in a sandbox.

Nobody has to stay connected to a server between requests: so it survives pauses, forks and restarts of this process.
What it says meanwhile (diagnostics) is told to connected clients alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent
from moonpool.ids import new_uuid
from moonpool.languages.errors import (
    LAST_WORDS,
    LanguageServerFailed,
    LanguageServerTimeout,
    RequestNotOffered,
    gone,
)
from moonpool.languages.messages import METHOD_NOT_FOUND, Frames, Message, refusal
from moonpool.languages.shared import Shared

REQUEST_TIMEOUT = 180.0  # seconds; the first completion reads a whole library: pandas takes 30 s of one processor


class Conversation:
    """``events`` is the server's output from now on."""

    def __init__(self, agent: AgentClient, pid: int, events: AsyncIterator[ProcessEvent], shared: Shared) -> None:
        self._agent = agent
        self._pid = pid
        self._events = events
        self._shared = shared
        self._frames = Frames()
        self._complaints = b""

    async def notify(self, method: str, parameters: Mapping[str, Any]) -> None:
        await self._send({"method": method, "params": parameters})

    async def request(self, method: str, parameters: Mapping[str, Any] | None) -> Any:
        """The result; LanguageServerFailed, LanguageServerGone, LanguageServerTimeout, RequestNotOffered."""
        number = new_uuid()  # Answers to others' requests are none to this one.
        await self._send({"id": number, "method": method, "params": parameters})
        return await self.answer(number, method)

    async def answer(self, number: str, method: str) -> Any:
        """As ``request``, to what was sent under that number."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                answer = await self._answer(number)
        except TimeoutError:
            await self.notify("$/cancelRequest", {"id": number})
            raise LanguageServerTimeout(f"No answer to {method} within {REQUEST_TIMEOUT:.0f} seconds") from None
        if error := answer.get("error"):
            code = error.get("code") if isinstance(error, dict) else None
            said = error.get("message") if isinstance(error, dict) else error
            raise (RequestNotOffered if code == METHOD_NOT_FOUND else LanguageServerFailed)(str(said))
        return answer.get("result")

    async def _answer(self, number: str) -> Message:
        async for event in self._events:
            if isinstance(event, Exited):
                break
            for message in self._heard(event):
                if message.get("id") == number and "method" not in message:
                    return message
                if "id" in message and "method" in message and self._shared.spokesman is None:
                    await self._send(refusal(message["id"], METHOD_NOT_FOUND, "Not offered by this client"))
        raise gone(self._complaints)

    def _heard(self, event: Output) -> list[Message]:
        if event.stream == "stderr":
            self._complaints = (self._complaints + event.data)[-LAST_WORDS:]
            return []
        return list(self._frames.feed(event.data))

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._shared.send(self._agent, self._pid, message)
