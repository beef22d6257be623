"""Language servers, with a real process that does what tests want in the place of one."""

import asyncio
import json
import os
import shlex
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets

from moonpool.config import Settings
from moonpool.guest.connection import ClientConnection, ClientStream
from moonpool.languages.errors import LanguageServerGone
from moonpool.languages.model import Project
from moonpool.languages.service import LanguageService
from tests.contract.daytona_toolbox.conftest import KEY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAM = Path(__file__).with_name("language_server.py").read_text()
PROJECT = {"languageId": "test", "pathToProject": "/mnt"}
CONNECT = f"/lsp/connect?languageId=test&pathToProject={quote('/mnt')}"
MAIN = "file:///mnt/main.py"


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    servers = {"test": f"python3 -c {shlex.quote(PROGRAM)}", "missing": "no-such-language-server"}
    return settings.model_copy(update={"language_servers": servers})


class Client:
    """What a client of the protocol does; notifications that come in between are kept."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        return message

    async def ask(self, method: str, number: Any = 1, **parameters: Any) -> Any:
        await self.send(id=number, method=method, params=parameters)
        while (message := await self.next()).get("id") != number or "method" in message:
            self.heard.append(message)
        return message.get("result", message.get("error"))

    async def until(self, method: str) -> dict[str, Any]:
        while (message := await self.next()).get("method") != method:
            self.heard.append(message)
        return message

    async def introduce(self) -> dict[str, Any]:
        said: dict[str, Any] = await self.ask("initialize", capabilities={})
        await self.send(method="initialized", params={})
        return said

    async def open(self, text: str, uri: str = MAIN) -> None:
        document = {"uri": uri, "languageId": "python", "version": 40, "text": text}
        await self.send(method="textDocument/didOpen", params={"textDocument": document})

    async def change(self, text: str, uri: str = MAIN) -> None:
        changes = [{"text": text}]
        await self.send(
            method="textDocument/didChange",
            params={"textDocument": {"uri": uri, "version": 41}, "contentChanges": changes},
        )

    async def close(self, uri: str = MAIN) -> None:
        await self.send(method="textDocument/didClose", params={"textDocument": {"uri": uri}})


async def test_one_process_for_all(socket_to: Any) -> None:
    async with socket_to(CONNECT) as one, socket_to(CONNECT) as two:
        first, second = Client(one), Client(two)
        said, again = await first.introduce(), await second.introduce()
        assert said == again
        assert said["capabilities"]["textDocumentSync"] == {"openClose": True, "change": 1}
        assert await first.ask("test/a", 1) == "test/a"
        assert await second.ask("test/b", 1) == "test/b"
        assert await second.ask("test/c", "1") == "test/c"
        assert (await first.ask("initialize"))["code"] == -32600
        assert await first.ask("shutdown") is None
        await first.send(method="exit")
        await socket_to.rest(one)
        assert one.close_code == 1000
        assert await second.ask("test/d") == "test/d"


async def test_documents_are_what_was_written_last(socket_to: Any) -> None:
    async with socket_to(CONNECT) as one, socket_to(CONNECT) as two:
        first, second = Client(one), Client(two)
        await first.introduce()
        await second.introduce()
        await first.open("first")
        assert (await second.until("textDocument/publishDiagnostics"))["params"] == {"uri": MAIN, "diagnostics": []}
        await second.open("second")
        assert await second.ask("test/documents") == {MAIN: "second"}
        await first.change("third")
        await first.open("untitled", "untitled:one")
        assert await first.ask("test/documents") == {MAIN: "third", "untitled:one": "untitled"}
        await first.close()
        await first.change("of one that is not open")
        assert (await first.ask("test/documents"))[MAIN] == "third"
        await one.close()
        await second.until("textDocument/publishDiagnostics")
        while "untitled:one" in (documents := await second.ask("test/documents")):
            pass
        assert documents == {MAIN: "third"}
        await second.close()
        assert await second.ask("test/documents") == {}


async def test_single_questions_beside_a_client(socket_to: Any, client: httpx.AsyncClient, home: Path) -> None:
    (home / "main.py").write_text("on disk")
    asked = {**PROJECT, "uri": MAIN, "position": {"line": 0, "character": 0}}
    async with socket_to(CONNECT) as one:
        first = Client(one)
        await first.introduce()
        await first.open("in the editor")
        await first.ask("test/documents")
        assert (await client.post("/lsp/completions", json=asked)).json()["items"] == [{"label": "in the editor"}]
    while (answer := await client.post("/lsp/completions", json=asked)).json()["items"] != [{"label": "on disk"}]:
        assert answer.is_success
    assert (await client.post("/lsp/did-close", json=asked)).is_success
    strange = await client.get("/lsp/document-symbols", params={**PROJECT, "uri": MAIN})
    assert (strange.status_code, strange.json()["message"]) == (
        500,
        "The language server's answer cannot be understood",
    )


async def test_a_question_about_a_known_file_is_one_request_to_the_agent(
    client: httpx.AsyncClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, requests = ClientConnection.open, []

    def counted(connection: ClientConnection, operation: str, *rest: Any) -> ClientStream:
        requests.append(operation)
        return opened(connection, operation, *rest)

    async def labels() -> list[str]:
        requests.clear()
        return [item["label"] for item in (await client.post("/lsp/completions", json=asked)).json()["items"]]

    monkeypatch.setattr(ClientConnection, "open", counted)
    asked = {**PROJECT, "uri": MAIN, "position": {"line": 0, "character": 0}}
    (home / "main.py").write_text("one")
    assert (await client.post("/lsp/start", json=PROJECT)).is_success
    assert await labels() == ["one"]
    assert await labels() == ["one"]
    assert requests == ["attach"]
    (home / "main.py").write_text("another")
    assert await labels() == ["another"]
    assert await labels() == ["another"]
    assert requests == ["attach"]
    (home / "main.py").unlink()
    assert (await client.post("/lsp/completions", json=asked)).status_code == 404
    assert (await client.post("/lsp/stop", json=PROJECT)).is_success


async def test_a_server_that_crashes(socket_to: Any, client: httpx.AsyncClient) -> None:
    async with socket_to(CONNECT) as one:
        first = Client(one)
        pid = (await first.introduce())["serverInfo"]["name"]
        await first.send(id=1, method="test/crash")
        await socket_to.rest(one)
        assert (one.close_code, one.close_reason) == (1011, "The language server ended: out of ideas")
    async with socket_to(CONNECT) as two:
        assert (await Client(two).introduce())["serverInfo"]["name"] != pid
        assert (await client.post("/lsp/stop", json=PROJECT)).is_success
        await socket_to.rest(two)
        assert two.close_code == 1011
    gone = await client.post("/lsp/did-open", json={**PROJECT, "uri": MAIN})
    assert gone.json()["code"] == "LSP_SERVER_NOT_INITIALIZED"


async def test_who_asked_last_is_asked(socket_to: Any) -> None:
    async with socket_to(CONNECT) as one, socket_to(CONNECT) as two:
        first, second = Client(one), Client(two)
        await second.introduce()
        await first.introduce()
        assert await first.ask("test/ask") == "test/ask"
        (request,) = (message for message in first.heard if "id" in message)
        assert request["params"]["edit"]["documentChanges"][0]["textDocument"]["version"] is None
        await second.send(id=7, result={"applied": False})
        await first.send(id=7, result={"applied": True})
        answered = await second.until("test/answered")
        assert answered["params"]["result"] == {"applied": True}
        assert not [message for message in second.heard if "id" in message]


async def test_what_a_client_waited_for_is_cancelled(socket_to: Any) -> None:
    async with socket_to(CONNECT) as one, socket_to(CONNECT) as two:
        first, second = Client(one), Client(two)
        await second.introduce()
        await first.introduce()
        await first.send(id=5, method="test/wait")
        await first.send(method="$/cancelRequest", params={"id": "5"})
        await first.send(method="$/cancelRequest", params={"id": 5})
        assert await first.ask("test/a") == "test/a"
        assert [message["method"] for message in first.heard] == ["test/cancelled"]
        await one.close()
        assert await second.until("test/cancelled")


WRONG = [
    ("{", -32700),
    ("[" * 100_000, -32700),
    ("[1]", -32600),
    ('{"method": 7}', -32600),
    ('{"method": "test/a", "id": [1]}', -32600),
    ('{"method": "textDocument/didOpen", "params": {"textDocument": {"uri": 7}}}', -32602),
    ('{"method": "textDocument/didOpen", "params": {"textDocument": {"uri": "file:///a"}}}', -32602),
    ('{"method": "textDocument/didChange", "params": {"textDocument": {"uri": "a:b"}, "contentChanges": "x"}}', -32602),
    ('{"method": "textDocument/didClose", "params": [1]}', -32602),
]


async def test_messages_that_are_none(socket_to: Any) -> None:
    async with socket_to(CONNECT) as one:
        first = Client(one)
        assert (await first.ask("test/a"))["code"] == -32002
        await first.introduce()
        for message, code in WRONG:
            await one.send(message)
            assert (await first.next())["error"]["code"] == code, message[:100]
        await one.send('{"id": 99, "result": "nobody asked"}')
        await one.send(b'{"id": 3, "method": "test/bytes"}')
        assert (await first.next())["result"] == "test/bytes"
        assert await first.ask("test/nonsense") == "test/nonsense"


async def test_refusals(socket_to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.languages.service.CLIENTS_LIMIT", 1)
    async with socket_to(CONNECT) as one:
        await Client(one).introduce()
        for path, key, status in (
            (CONNECT, KEY, 429),
            (CONNECT, "wrong", 401),
            (CONNECT.replace("=test", "=cobol"), KEY, 400),
            (CONNECT.replace("=test", "=missing"), KEY, 400),
            (CONNECT.replace("%2Fmnt", "").replace("/mnt", ""), KEY, 400),
            ("/lsp/connect", KEY, 400),
        ):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await socket_to(path, key).__aenter__()
            assert refused.value.response.status_code == status, path


async def test_a_client_that_does_not_read(socket_to: Any, url: str) -> None:
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    host, port = url.removeprefix("http://").split(":")
    narrow.connect((host, int(port)))
    async with (
        socket_to(CONNECT, sock=narrow, max_queue=1, compression=None, max_size=None) as slow,
        socket_to(CONNECT, max_size=None) as quick,
    ):
        await Client(slow).introduce()
        second = Client(quick)
        await second.introduce()
        assert await second.ask("test/flood") == "test/flood"
        assert len(second.heard) == 40
        async with asyncio.timeout(20):
            await socket_to.rest(slow)
        assert (slow.close_code, slow.close_reason) == (1008, "slow consumer")
        assert await second.ask("test/a") == "test/a"


async def test_a_server_that_does_not_read(socket_to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.languages.shared.WRITE_TIMEOUT", 0.3)
    async with socket_to(CONNECT) as one:
        first = Client(one)
        await first.introduce()
        assert await first.ask("test/deaf") is None
        await first.open("x" * 300_000)
        await socket_to.rest(one)
        assert (one.close_code, one.close_reason) == (1011, "The language server took no message, and was ended")


async def test_a_message_is_written_whole(socket_to: Any, client: httpx.AsyncClient, home: Path) -> None:
    (home / "main.py").write_text("x" * 2_000_000)
    async with socket_to(CONNECT, max_size=None) as one:
        first = Client(one)
        await first.introduce()
        await first.send(id="busy", method="test/busy")
        asked = {**PROJECT, "uri": MAIN, "position": {"line": 0, "character": 0}}
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/lsp/completions", json=asked, timeout=0.5)
        assert set(await first.ask("test/documents")) == {MAIN}


async def test_who_was_started_anew_introduces_itself_again(world: World, sandbox: str, settings: Settings) -> None:
    """A server that this process did not start has told somebody else what it offers."""
    project = Project("test", "/mnt")
    before, after = (LanguageService(world.core.sandboxes, settings.language_servers) for _ in range(2))
    who = (world.principal, sandbox, project)
    async with before.connect(*who) as old, after.connect(*who) as new:
        with pytest.raises(LanguageServerGone):
            await old.listen()
        await new.receive(json.dumps({"id": 1, "method": "initialize"}))
        assert json.loads(await new.next())["result"]["capabilities"]
        async with after.connect(*who) as another:
            await another.receive(json.dumps({"id": 1, "method": "initialize"}))
            assert json.loads(await another.next())["result"]["serverInfo"]


async def test_a_start_that_is_given_up_leaves_no_server(world: World, sandbox: str) -> None:
    languages = LanguageService(world.core.sandboxes, {"test": "sh -c 'echo $$ >/mnt/began; exec sleep 600'"})
    starting = asyncio.ensure_future(languages.start(world.principal, sandbox, Project("test", "/mnt")))
    async with world.core.sandboxes.session(world.principal, sandbox) as session:
        async with asyncio.timeout(20), session.agent.watch("/mnt") as events:
            while "began" not in os.listdir(world.machines.by_id[sandbox].home):
                await anext(events)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not await session.agent.processes()
