"""A language server that does what tests want, run inside as ``python3 -c``: standard library only."""

import json
import os
import sys
import time
from typing import Any

documents: dict[str, str] = {}
waiting: set[Any] = set()


def read() -> dict[str, Any]:
    length = 0
    while line := sys.stdin.buffer.readline().strip():
        name, _, value = line.partition(b": ")
        length = int(value) if name == b"Content-Length" else length
    if not length:
        sys.exit()
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read(length))
    return message


def send(**message: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sys.stdout.buffer.flush()


def notified(method: str, parameters: dict[str, Any]) -> None:
    if method == "$/cancelRequest" and parameters["id"] in waiting:
        send(method="test/cancelled")
    if method == "exit":
        sys.exit()
    if not method.startswith("textDocument/did"):
        return
    document = parameters["textDocument"]
    if method.endswith("Open"):
        assert document["uri"] not in documents
        documents[document["uri"]] = document["text"]
    elif method.endswith("Change"):
        documents[document["uri"]] = parameters["contentChanges"][0]["text"]
    else:
        del documents[document["uri"]]
    diagnostics = {"uri": document["uri"], "version": document.get("version"), "diagnostics": []}
    send(method="textDocument/publishDiagnostics", params=diagnostics)


def answer(method: str, number: Any) -> Any:
    match method:
        case "initialize":
            return {"capabilities": {"textDocumentSync": 2}, "serverInfo": {"name": str(os.getpid())}}
        case "test/documents":
            return documents
        case "test/crash":
            print("out of ideas", file=sys.stderr, flush=True)
            os._exit(3)
        case "test/busy":
            time.sleep(1)
        case "test/deaf":
            send(id=number, result=None)
            time.sleep(600)
        case "test/flood":
            for _ in range(40):
                send(method="test/wave", params={"text": "x" * (1 << 20)})
        case "test/nonsense":
            for body in (b"[" * 100_000, b"{}}", b"7"):
                sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        case "test/ask":
            change = {"textDocument": {"uri": "file:///a.py", "version": 3}, "edits": []}
            send(id=7, method="workspace/applyEdit", params={"edit": {"documentChanges": [change]}})
        case "textDocument/documentSymbol":
            return [{"odd": 1}]
        case "textDocument/completion":
            return [{"label": text} for text in documents.values()]
    return method


while True:
    message = read()
    if "method" not in message:
        send(method="test/answered", params=message)
    elif "id" not in message:
        notified(message["method"], message.get("params") or {})
    elif message["method"] == "test/wait":
        waiting.add(message["id"])
    else:
        send(id=message["id"], result=answer(message["method"], message["id"]))
