"""Language servers of the base image, through the SDK."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from daytona import Daytona, DaytonaConfig, Sandbox
from daytona.common.errors import DaytonaError
from daytona.common.lsp_server import LspCompletionPosition, LspLanguageId
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.contract.documents import TOOLBOX
from tests.contract.record import listening_sync
from tests.servers import Server, open_client

PROJECT = "/home/daytona/project"
PYTHON = b'import json\n\n\nclass Greeter:\n    """Says hello."""\n\n    def greet(self):\n        return json.\n'
TYPESCRIPT = b"export function addAll(values: number[]): number {\n  return values.\n}\n"


@pytest.fixture(scope="module")
def sandbox(server: Server) -> Iterator[Sandbox]:
    daytona = Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))
    made = daytona.create()
    made.fs.create_folder(PROJECT, "755")
    made.fs.upload_file(PYTHON, f"{PROJECT}/main.py")
    made.fs.upload_file(TYPESCRIPT, f"{PROJECT}/main.ts")
    made.fs.upload_file(b'{"compilerOptions": {"strict": true}, "include": ["*.ts"]}', f"{PROJECT}/tsconfig.json")
    yield made
    made.delete()


def test_python(sandbox: Sandbox) -> None:
    server = sandbox.create_lsp_server(LspLanguageId.PYTHON, PROJECT)
    server.start()
    server.did_open(f"{PROJECT}/main.py")
    found = server.completions("main.py", LspCompletionPosition(line=7, character=20))
    assert {"dumps", "loads"} <= {item.label.split("(")[0] for item in found.items}
    symbols = server.document_symbols(f"{PROJECT}/main.py")
    assert {"Greeter", "greet"} <= {symbol.name for symbol in symbols}
    assert symbols[0].location.uri == f"file://{PROJECT}/main.py"
    assert "Greeter" in {symbol.name for symbol in server.sandbox_symbols("greet")}

    sandbox.fs.upload_file(PYTHON.replace(b"json", b"math"), f"{PROJECT}/main.py")
    changed = server.completions(f"{PROJECT}/main.py", LspCompletionPosition(line=7, character=20))
    assert "sqrt" in {item.label.split("(")[0] for item in changed.items}
    server.did_close(f"{PROJECT}/main.py")

    sandbox.process.exec("pkill -9 -f pylsp")
    assert server.document_symbols(f"{PROJECT}/main.py")
    server.stop()
    with pytest.raises(DaytonaError):
        server.document_symbols(f"{PROJECT}/main.py")


def test_paths_from_the_home_folder(sandbox: Sandbox) -> None:
    server = sandbox.create_lsp_server(LspLanguageId.PYTHON, "project")
    server.start()
    server.did_open("project/main.py")
    for path in ("project/main.py", "main.py"):
        assert "Greeter" in {symbol.name for symbol in server.document_symbols(path)}
    assert "Greeter" in {symbol.name for symbol in server.sandbox_symbols("Greeter")}
    server.did_close("project/main.py")
    server.stop()


def test_typescript(sandbox: Sandbox) -> None:
    server = sandbox.create_lsp_server(LspLanguageId.TYPESCRIPT, PROJECT)
    server.start()
    found = server.completions(f"{PROJECT}/main.ts", LspCompletionPosition(line=1, character=16))
    assert {"map", "reduce"} <= {item.label for item in found.items}
    assert "addAll" in {symbol.name for symbol in server.document_symbols(f"{PROJECT}/main.ts")}
    assert "addAll" in {symbol.name for symbol in server.sandbox_symbols("addAll")}
    server.stop()


def test_a_server_goes_on_after_a_pause(sandbox: Sandbox) -> None:
    server = sandbox.create_lsp_server(LspLanguageId.PYTHON, PROJECT)
    server.start()
    pid = sandbox.process.exec("pgrep -f pylsp").result
    sandbox.pause()
    sandbox.start()
    assert server.document_symbols(f"{PROJECT}/main.py")
    assert sandbox.process.exec("pgrep -f pylsp").result == pid


def test_answers_are_as_the_document_says(server: Server, sandbox: Sandbox) -> None:
    project = {"languageId": "python", "pathToProject": PROJECT}
    main = {**project, "uri": f"file://{PROJECT}/main.py"}
    with open_client(server) as http:
        http.event_hooks = listening_sync(TOOLBOX)
        for name, body in (
            ("start", project),
            ("did-open", main),
            ("completions", {**main, "position": {"line": 7, "character": 20}}),
            ("did-close", main),
        ):
            assert http.post(f"/toolbox/{sandbox.id}/lsp/{name}", json=body).is_success
        for name, query in (("document-symbols", main), ("workspacesymbols", {**project, "query": "greet"})):
            assert http.get(f"/toolbox/{sandbox.id}/lsp/{name}", params=query).json()
        assert http.post(f"/toolbox/{sandbox.id}/lsp/stop", json=project).is_success
        assert http.post(f"/toolbox/{sandbox.id}/lsp/completions", json=project).is_error


def test_every_operation_answers_as_documented(server: Server, sandbox: Sandbox) -> None:
    project = {"languageId": "python", "pathToProject": PROJECT}
    document = {**project, "uri": f"file://{PROJECT}/main.py"}
    with httpx.Client(
        base_url=f"{server.url}/toolbox/{sandbox.id}/lsp",
        headers={"Authorization": f"Bearer {server.api_key}"},
        event_hooks=listening_sync(TOOLBOX),
        timeout=120,
        trust_env=False,
    ) as client:
        answers = [
            client.post("/start", json=project),
            client.post("/did-open", json=document),
            client.post("/completions", json={**document, "position": {"line": 0, "character": 8}}),
            client.get("/document-symbols", params=document),
            client.get("/workspacesymbols", params={**project, "query": "Greeter"}),
            client.post("/did-close", json=document),
            client.post("/stop", json=project),
        ]
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        assert client.post("/did-open", json=document).json()["code"] == "LSP_SERVER_NOT_INITIALIZED"
        assert client.post("/start", json={**project, "languageId": "cobol"}).status_code == 400


class Editor:
    """Speaks the whole protocol over a WebSocket, as an editor in a browser does."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        assert self.ask("initialize", capabilities={}, processId=None, rootUri=None)["capabilities"]["hoverProvider"]
        self.tell("initialized")

    def tell(self, method: str, **parameters: Any) -> None:
        self.socket.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": parameters}))

    def ask(self, method: str, **parameters: Any) -> Any:
        number = next(self.numbers)
        self.socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}))
        while (message := self.next()).get("id") != number:
            assert "id" not in message, message
        assert "error" not in message, message
        return message["result"]

    def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=60))
        return message

    def open(self, uri: str, language: str, text: str) -> None:
        self.tell("textDocument/didOpen", textDocument={"uri": uri, "languageId": language, "version": 1, "text": text})

    def diagnostics(self, uri: str, *, some: bool) -> list[str]:
        """The first that come, or, with ``some``, the first that are any."""
        while True:
            about = self.next().get("params", {})
            if about.get("uri") == uri and (about["diagnostics"] or not some):
                return [each["message"] for each in about["diagnostics"]]


@pytest.mark.parametrize(
    ("language", "name", "text", "complaint", "hover"),
    [
        ("python", "shapes.py", "def area(side: int) -> int:\n    return side * side\n", "", "side: int"),
        ("typescript", "shapes.ts", "function area(side: number) {\n  return side * sides;\n}\n", "sides", "number"),
    ],
    ids=["python", "typescript"],
)
def test_the_whole_protocol(
    server: Server, sandbox: Sandbox, language: str, name: str, text: str, complaint: str, hover: str
) -> None:
    """pylsp has nothing to complain with in the base image."""
    address = f"{server.url.replace('http', 'ws', 1)}/toolbox/{sandbox.id}/lsp/connect"
    address += f"?languageId={language}&pathToProject={PROJECT}"
    headers = {"Authorization": f"Bearer {server.api_key}"}
    uri = f"file://{PROJECT}/{name}"
    where = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 9 if language == "typescript" else 4}}
    with (
        connect(address, additional_headers=headers, proxy=None, max_size=None) as one,
        connect(address, additional_headers=headers, proxy=None, max_size=None) as two,
    ):
        first, second = Editor(one), Editor(two)
        first.open(uri, language, text)
        for each in (first, second):
            assert complaint in " ".join(each.diagnostics(uri, some=bool(complaint)))
        assert hover in json.dumps(second.ask("textDocument/hover", **where))
        assert second.ask("textDocument/references", **where, context={"includeDeclaration": True})
        changed = text.replace("sides", "side")
        second.open(uri, language, changed)
        second.tell(
            "textDocument/didChange",
            textDocument={"uri": uri, "version": 2},
            contentChanges=[{"text": changed.replace("area", "surface")}],
        )
        for each in (second, first):  # What the second has said has come when it is answered.
            assert "surface" in json.dumps(each.ask("textDocument/documentSymbol", textDocument={"uri": uri}))
        edit = json.dumps(first.ask("textDocument/rename", **where, newName="extent"))
        assert "extent" in edit
        one.close()
        assert "surface" in json.dumps(second.ask("textDocument/documentSymbol", textDocument={"uri": uri}))
        sandbox.create_lsp_server(language, PROJECT).stop()
        with pytest.raises(ConnectionClosedError, match="1011"):
            list(second.socket)
