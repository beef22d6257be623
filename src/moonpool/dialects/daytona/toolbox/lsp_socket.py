"""A language server over a websocket: each message is one of JSON-RPC, without the protocol's headers.

An extra of this server's: ``lsp/connect?languageId=python&pathToProject=/home/daytona/project``. The server is started
where it does not run. It closes with 1000 after the client's ``exit``, with 1011 when the language server has ended
(the next connection starts it anew), with 1008 when the client does not read, with 1009 after too large a message.
"""

import asyncio
import contextlib

from moonpool.cancellation import first_of
from moonpool.dialects.daytona.toolbox.call import Call
from moonpool.dialects.daytona.toolbox.lsp import asked
from moonpool.dialects.daytona.toolbox.sockets import INTERNAL_ERROR, NORMAL_CLOSURE, POLICY_VIOLATION, reason
from moonpool.errors import TooLarge
from moonpool.languages.clients import LanguageClient
from moonpool.languages.errors import ClientTooSlow, LanguageServerFailed, LanguageServerTimeout
from moonpool.languages.messages import MESSAGE_LIMIT

TOO_BIG = 1009
CLOSE_TIMEOUT = 10.0  # seconds for a client that does not read to take the close frame


async def connect(call: Call) -> None:
    code, said = NORMAL_CLOSURE, ""
    async with call.tools.languages.connect(call.principal, call.sandbox, asked(call)) as client:
        await call.socket.accept()
        try:
            await first_of(client.listen(), tell(call, client), hear(call, client))
        except ClientTooSlow:
            code, said = POLICY_VIOLATION, "slow consumer"
        except TooLarge as error:
            code, said = TOO_BIG, error.message
        except (LanguageServerFailed, LanguageServerTimeout) as error:
            code, said = INTERNAL_ERROR, error.message
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(call.socket.close(code, reason(said)), CLOSE_TIMEOUT)


async def tell(call: Call, client: LanguageClient) -> None:
    while True:
        await call.socket.send_text(await client.next())


async def hear(call: Call, client: LanguageClient) -> None:
    while (message := await call.socket.receive())["type"] != "websocket.disconnect":
        said = message.get("text") or message.get("bytes") or ""
        if len(said) > MESSAGE_LIMIT:
            raise TooLarge(f"A message has up to {MESSAGE_LIMIT >> 20} MiB")
        if not await client.receive(said):
            return
