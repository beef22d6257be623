"""What this server adds to a language server's own answer."""

import time
from dataclasses import dataclass
from typing import Any

import httpx

from moonpool.bench.figures import Figure, milliseconds_since
from moonpool.bench.http import call, create, execute, remove
from moonpool.bench.interpreters import Interpreter
from moonpool.bench.server import RunningServer

PROJECT = "/home/daytona/project"
FILE = f"{PROJECT}/main.py"
LINES = ("import json", "", "json.du")
POSITION = {"line": 2, "character": 7}
EXPECTED = "dumps"
WARM_UP = 3  # answers that are not counted
# Another one beside ours, on the same file; ``ask()`` gives the milliseconds that its answer takes.
OWN_SERVER = f"""
import json, subprocess, time
server = subprocess.Popen(["pylsp"], cwd={PROJECT!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
uri, text = {f"file://{FILE}"!r}, open({FILE!r}).read()

def send(**message):
    body = json.dumps({{"jsonrpc": "2.0", **message}}).encode()
    server.stdin.write(b"Content-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
    server.stdin.flush()

def answer(number):
    while True:
        length = 0
        while line := server.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        message = json.loads(server.stdout.read(length))
        if message.get("id") == number and "method" not in message:
            return message["result"]

def request(method, **parameters):
    send(id=method, method=method, params=parameters)
    return answer(method)

def ask():
    started = time.perf_counter()
    found = request("textDocument/completion", textDocument={{"uri": uri}}, position={POSITION!r})
    taken = (time.perf_counter() - started) * 1000
    assert any(item["label"].startswith({EXPECTED!r}) for item in found["items"])
    return taken

request("initialize", processId=None, rootUri="file://" + {PROJECT!r}, capabilities={{}})
send(method="initialized", params={{}})
document = {{"uri": uri, "languageId": "python", "version": 1, "text": text}}
send(method="textDocument/didOpen", params={{"textDocument": document}})
"""


@dataclass
class Turns:
    client: httpx.AsyncClient
    sandbox: str
    interpreter: Interpreter

    async def own(self) -> float:
        return float(await self.interpreter.run("print(ask())"))

    async def ours(self) -> float:
        project = {"languageId": "python", "pathToProject": PROJECT}
        asked = {**project, "uri": f"file://{FILE}", "position": POSITION}
        started = time.perf_counter()
        found: Any = await call(self.client, "POST", f"/toolbox/{self.sandbox}/lsp/completions", json=asked)
        taken = milliseconds_since(started)
        if not any(item["label"].startswith(EXPECTED) for item in found["items"]):
            raise RuntimeError(str(found)[:200])
        return taken


async def language_figures(server: RunningServer, client: httpx.AsyncClient, runs: int) -> list[Figure]:
    identifier = await create(client)
    try:
        written = "\\n".join(LINES)
        await execute(client, identifier, f"mkdir {PROJECT} && printf '{written}\\n' > {FILE}")
        start = {"languageId": "python", "pathToProject": PROJECT}
        await call(client, "POST", f"/toolbox/{identifier}/lsp/start", json=start)
        turns = Turns(client, identifier, Interpreter(server, client, identifier))
        await turns.interpreter.run(OWN_SERVER)
        for _ in range(WARM_UP):
            await turns.own()
            await turns.ours()
        pairs = [(await turns.own(), await turns.ours()) for _ in range(runs)]
    finally:
        await remove(client, identifier)
    added = tuple(ours - own for own, ours in pairs)
    return [
        Figure("completion in Python, the language server alone", "ms", tuple(own for own, _ in pairs)),
        Figure("completion in Python, HTTP, in turns with it", "ms", tuple(ours for _, ours in pairs)),
        Figure("what HTTP adds to a completion", "ms", added, bar="p50 <= 10 ms"),
    ]
