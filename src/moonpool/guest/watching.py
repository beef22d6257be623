"""What the agent tells for as long as somebody listens: changes of files and of listening ports, connections."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from moonpool.errors import AgentUnavailable
from moonpool.guest.connection import ClientStream, within
from moonpool.guest.model import FileEvent, Port
from moonpool.guest.protocol import DATA, EVENT, MAX_MESSAGE, REPLY, decode, parsed

MAX_LINE = MAX_MESSAGE  # bytes

Told = TypeVar("Told")
Connections = AsyncIterator[int]
Opening = Callable[[], AbstractAsyncContextManager[AsyncIterator[Told]]]


async def file_events(stream: ClientStream) -> AsyncIterator[FileEvent]:
    async for document in _documents(stream):
        yield FileEvent(**document)


async def port_lists(stream: ClientStream) -> AsyncIterator[tuple[Port, ...]]:
    async for document in _documents(stream):
        yield tuple(Port(**port) for port in document["ports"])


async def connections(stream: ClientStream) -> Connections:
    while (item := await within(None, stream.next())).kind != REPLY:
        if item.kind == EVENT:
            yield int(decode(item.payload).document["connection"])


async def _documents(stream: ClientStream) -> AsyncIterator[dict[str, Any]]:
    """Lines of JSON, which may be cut anywhere, until the agent has nothing more to tell."""
    rest = bytearray()
    while (item := await within(None, stream.next())).kind != REPLY:
        if item.kind != DATA:
            continue
        *lines, last = item.payload.split(b"\n")
        for line in lines:
            whole, rest = bytes(rest + line), bytearray()
            yield parsed(whole)
        rest += last
        if len(rest) > MAX_LINE:
            raise AgentUnavailable("The sandbox tells something that has no end")


@asynccontextmanager
async def lasting(opening: Opening[Told], missed: Sequence[Told] = ()) -> AsyncIterator[AsyncIterator[Told]]:
    """A watch that goes on when the connection is lost, as it is whenever the sandbox is copied: opened again, with
    `missed` told first. Ends with what `opening` raises when that cannot be."""
    async with AsyncExitStack() as stack:

        async def told(current: AsyncIterator[Told]) -> AsyncIterator[Told]:
            while True:
                try:
                    async for one in current:
                        yield one
                    return
                except AgentUnavailable:
                    await stack.aclose()
                    current = await stack.enter_async_context(opening())
                    for one in missed:
                        yield one

        yield told(await stack.enter_async_context(opening()))
