#!/usr/bin/python3
"""Waits for the Jupyter server, starts its first kernel, and has it import what most code asks for: whoever starts from
the memory of this sandbox finds all that done."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

import websocket

SERVER = "127.0.0.1:8888"
KERNEL = "wrenn"
PATIENCE = 60.0  # seconds until the server must answer, and between messages of the kernel
IMPORTS = """
import matplotlib.pyplot, numpy, pandas
matplotlib.pyplot.plot([0, 1])
matplotlib.pyplot.close("all")
"""


def request(method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"http://{SERVER}{path}", data, method=method), timeout=PATIENCE
    ) as answer:
        return json.load(answer)


def wait_for_server() -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            request("GET", "/api")
            return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def execute_silently(kernel: str, code: str) -> str:
    """What became of the code: ``ok``, ``error`` or ``aborted``."""
    socket = websocket.create_connection(f"ws://{SERVER}/api/kernels/{kernel}/channels", timeout=PATIENCE)
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": {**header, "username": ""}, "parent_header": {}, "metadata": {}, "content": content}
    socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
    while True:
        answer = json.loads(socket.recv())
        if answer["msg_type"] == "execute_reply" and answer["parent_header"].get("msg_id") == header["msg_id"]:
            socket.close()
            return str(answer["content"]["status"])


if __name__ == "__main__":
    wait_for_server()
    status = execute_silently(request("POST", "/api/kernels", {"name": KERNEL})["id"], IMPORTS)
    sys.exit(status != "ok")
