"""WebSockets to a running server, whose refusals are sentences."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from moonpool.cli.client import CommandFailed, Target, words_of

SILENCE = 60.0  # seconds without a sign of life after which a server is given up


@asynccontextmanager
async def open_socket(target: Target, path: str, protocols: Sequence[str] = ()) -> AsyncIterator[ClientConnection]:
    """An open connection; CommandFailed when the server refuses it, is not there or goes away."""
    try:
        async with connect(
            target.url.replace("http", "ws", 1) + path,
            additional_headers={"Authorization": f"Bearer {target.api_key}"},
            subprotocols=[Subprotocol(name) for name in protocols] or None,
            max_size=None,
            ping_timeout=SILENCE,
            proxy=None,
        ) as socket:
            yield socket
    except InvalidStatus as error:
        raise CommandFailed(_refusal(error)) from None
    except (InvalidHandshake, TimeoutError, OSError) as error:
        raise CommandFailed(f"{target.url} does not answer ({error}). Is 'moonpool serve' running?") from None
    except ConnectionClosed:
        raise CommandFailed("The connection to the server was lost.") from None


def _refusal(error: InvalidStatus) -> str:
    response = error.response
    try:
        document = json.loads(response.body)
    except ValueError:
        document = None
    return words_of(document) or f"{response.status_code} {response.reason_phrase}"
