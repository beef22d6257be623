"""A client that stays connected to a language server and speaks the whole protocol with it, message by message.

The server's process is shared: by several such clients, and by who asks single questions. So each client's requests get
numbers of their own on the way, `initialize` is answered with what the server said when it was started, `shutdown` and
`exit` end the client's own conversation alone, and a document that several have open is what the last of them wrote.
Documents are kept in step by whole texts, since nobody could apply another one's ranges.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from moonpool.errors import InvalidInput
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, ProcessEvent
from moonpool.ids import new_uuid
from moonpool.languages.documents import SCHEME, path_of
from moonpool.languages.errors import LAST_WORDS, ClientTooSlow
from moonpool.languages.messages import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    NOT_INITIALIZED,
    PARSE_ERROR,
    REQUEST_FAILED,
    Frames,
    Message,
    refusal,
)
from moonpool.languages.shared import Shared

REQUESTS_LIMIT = 500  # of one client under way
WAITING_LIMIT = 16 * 1024 * 1024  # bytes for one client that does not read, before it is given up
FULL = 1  # TextDocumentSyncKind: a change is the whole text

Handler = Callable[[Mapping[str, Any]], Any]


class LanguageClient:
    """``events`` is the server's output from now on."""

    def __init__(
        self, agent: AgentClient, shared: Shared, pid: int, events: AsyncIterator[ProcessEvent], folder: str
    ) -> None:
        self._agent = agent
        self._shared = shared
        self._pid = pid
        self._events = events
        self._folder = folder
        self._id = new_uuid()
        self._count = 0
        self._pending: dict[str, Any] = {}  # the client's own numbers, by the server's
        self._asked: set[Any] = set()  # what the server asked this client and waits for
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._waiting = 0  # bytes
        self._initialized = False
        self._documents: dict[str, Handler] = {
            "textDocument/didOpen": self._opened,
            "textDocument/didChange": self._changed,
            "textDocument/didClose": self._closed,
        }
        shared.members.add(self._id)

    # -- from the server ----------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Hear the server until it ends: LanguageServerGone, LanguageServerTimeout. ClientTooSlow."""
        frames, complaints = Frames(), b""
        async for event in self._events:
            if isinstance(event, Exited):
                break
            if event.stream == "stderr":
                complaints = (complaints + event.data)[-LAST_WORDS:]
                continue
            for message in frames.feed(event.data):
                self._heard(message)
        raise self._shared.end_of(self._pid, complaints)

    async def next(self) -> str:
        """The next message for the client."""
        text = await self._outbox.get()
        self._waiting -= len(text)
        return text

    def _heard(self, message: Message) -> None:
        if "method" not in message:
            number = message.get("id")
            if isinstance(number, str) and number in self._pending:
                edits_unversioned(message.get("result"))
                self._put({**message, "id": self._pending.pop(number)})
        elif "id" in message:
            if self._shared.spokesman == self._id:
                self._asked.add(json.dumps(message["id"]))
                edits_unversioned(message.get("params"))
                self._put(message)
        else:
            self._put(unversioned(message))

    def _put(self, message: Mapping[str, Any]) -> None:
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        self._waiting += len(text)
        self._outbox.put_nowait(text)
        if self._waiting > WAITING_LIMIT:
            raise ClientTooSlow

    # -- from the client ----------------------------------------------------------------------------------------------

    async def receive(self, text: str | bytes) -> bool:
        """One message of the client. False when it has said that it is the last one."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            self._put(refusal(None, PARSE_ERROR, "A message must be one JSON object"))
            return True
        if not isinstance(message, dict) or not isinstance(message.get("method", ""), str):
            self._put(refusal(None, INVALID_REQUEST, "A message must be one JSON-RPC object"))
            return True
        method = message.get("method")
        if method is None:
            await self._answered(message)
        elif "id" in message:
            await self._requested(method, message)
        elif method == "exit":
            return False
        else:
            await self._notified(method, message)
        return True

    async def _answered(self, message: Message) -> None:
        number = json.dumps(message.get("id"))
        if number in self._asked:
            self._asked.discard(number)
            await self._send(message)

    async def _requested(self, method: str, message: Message) -> None:
        own = message["id"]
        if not isinstance(own, int | str) or isinstance(own, bool):
            self._put(refusal(None, INVALID_REQUEST, "An id is a number or a text"))
        elif method == "initialize":
            self._initialize(own)
        elif not self._initialized:
            self._put(refusal(own, NOT_INITIALIZED, "Say initialize first"))
        elif method == "shutdown":
            self._put({"jsonrpc": "2.0", "id": own, "result": None})
        elif len(self._pending) >= REQUESTS_LIMIT:
            self._put(refusal(own, REQUEST_FAILED, f"More than {REQUESTS_LIMIT} requests are under way"))
        else:
            self._count += 1
            number = f"{self._id}:{self._count}"
            self._pending[number] = own
            self._shared.spokesman = self._id
            await self._send({**message, "id": number})

    def _initialize(self, own: int | str) -> None:
        if self._initialized:
            self._put(refusal(own, INVALID_REQUEST, "It is initialized already"))
            return
        self._initialized = True
        self._shared.spokesman = self._shared.spokesman or self._id
        self._put({"jsonrpc": "2.0", "id": own, "result": for_clients(self._shared.introduced or {})})

    async def _notified(self, method: str, message: Message) -> None:
        parameters = message.get("params")
        if not self._initialized or method in ("initialized", "$/setTrace"):
            return
        if method == "$/cancelRequest":
            await self._cancelled(parameters)
        elif handler := self._documents.get(method):
            try:
                await handler(parameters or {})
            except (KeyError, TypeError, AttributeError, InvalidInput) as error:
                self._put(refusal(None, INVALID_PARAMS, f"{method}: {type(error).__name__}: {error}"))
        else:
            await self._send(message)

    async def _cancelled(self, parameters: Any) -> None:
        wanted = parameters.get("id") if isinstance(parameters, dict) else None
        for number, own in self._pending.items():
            if own == wanted and type(own) is type(wanted):
                await self._notify("$/cancelRequest", {"id": number})
                return

    async def _opened(self, parameters: Mapping[str, Any]) -> None:
        item = parameters["textDocument"]
        await self._shared.documents.hold(self._notify, self._key(item), self._id, item)

    async def _changed(self, parameters: Mapping[str, Any]) -> None:
        key, changes = self._key(parameters["textDocument"]), parameters["contentChanges"]
        if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
            raise TypeError("contentChanges must be a list of objects")
        await self._shared.documents.change(self._notify, key, self._id, changes)

    async def _closed(self, parameters: Mapping[str, Any]) -> None:
        key = self._key(parameters["textDocument"])
        await self._shared.documents.let_go(self._notify, key, self._id)

    def _key(self, document: Mapping[str, Any]) -> str:
        uri = document["uri"]
        if not isinstance(uri, str):
            raise TypeError("uri must be a text")
        return path_of(uri, self._folder) if uri.startswith(SCHEME) else uri

    async def leave(self) -> None:
        """What this client alone had open is closed, what it waited for is cancelled, what it was asked refused."""
        self._shared.members.discard(self._id)
        if self._shared.spokesman == self._id:
            self._shared.spokesman = next(iter(self._shared.members), None)
        for number in self._asked:
            await self._send(refusal(json.loads(number), REQUEST_FAILED, "The client has gone"))
        for number in self._pending:
            await self._notify("$/cancelRequest", {"id": number})
        for path in self._shared.documents.held_by(self._id):
            await self._shared.documents.let_go(self._notify, path, self._id)

    async def _notify(self, method: str, parameters: Mapping[str, Any]) -> None:
        await self._send({"method": method, "params": parameters})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._shared.send(self._agent, self._pid, message)


def for_clients(introduced: Mapping[str, Any]) -> Mapping[str, Any]:
    """The server's answer to ``initialize``, but that documents are told whole."""
    found = introduced.get("capabilities")
    capabilities = dict(found) if isinstance(found, dict) else {}
    sync = capabilities.get("textDocumentSync")
    wanted: dict[str, Any] = {"openClose": True, "change": FULL}
    if isinstance(sync, dict) and "save" in sync:
        wanted["save"] = sync["save"]
    return {**introduced, "capabilities": {**capabilities, "textDocumentSync": wanted}}


def unversioned(message: Message) -> Message:
    """Versions of documents are this server's own, and say nothing to a client."""
    parameters = message.get("params")
    if not isinstance(parameters, dict) or "version" not in parameters:
        return message
    return {**message, "params": {name: value for name, value in parameters.items() if name != "version"}}


def edits_unversioned(answer: Any) -> None:
    """The same in edits: of a rename, of code actions, and of what the server asks to be applied."""
    for holder in answer if isinstance(answer, list) else [answer]:
        for edit in (holder, holder.get("edit")) if isinstance(holder, dict) else ():
            changes = edit.get("documentChanges") if isinstance(edit, dict) else None
            for change in changes if isinstance(changes, list) else ():
                document = change.get("textDocument") if isinstance(change, dict) else None
                if isinstance(document, dict) and "version" in document:
                    document["version"] = None
