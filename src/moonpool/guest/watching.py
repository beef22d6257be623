"""What the agent tells for as long as somebody listens: changes of files."""

import json
from collections.abc import AsyncIterator

from moonpool.guest.connection import ClientStream, within
from moonpool.guest.model import FileEvent
from moonpool.guest.protocol import DATA, REPLY


async def file_events(stream: ClientStream) -> AsyncIterator[FileEvent]:
    """Lines of JSON, which may be cut anywhere, as events."""
    rest = b""
    while (item := await within(None, stream.next())).kind != REPLY:
        if item.kind == DATA:
            *lines, rest = (rest + item.payload).split(b"\n")
            for line in lines:
                yield FileEvent(**json.loads(line))
