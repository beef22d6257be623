#!/usr/bin/python3
"""Waits for the Jupyter server and starts its first kernel, which whoever starts from this memory finds there.

It has drawn a picture by then: to import Matplotlib and pandas takes longer than all else that a first chart needs.
With ``--check``, in such a copy: whether the kernel is still that one, and counts.
"""

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
PATIENCE = 60.0  # seconds until the server must answer
ANSWER_WITHIN = 30.0  # seconds, of a kernel that starts
# Without a name that the user's code would find.
PICTURE = """
import io, numpy, pandas
from matplotlib import pyplot
pandas.DataFrame({"a": numpy.arange(3)}).plot(title="a")
pyplot.savefig(io.BytesIO(), format="png")
pyplot.close("all")
"""
MARK = f"exec({PICTURE!r}, {{}}); __import__('sys').code_runner_started = True"
MARKED = """exec("import sys, numpy; assert sys.code_runner_started and numpy.linalg.det(numpy.eye(64)) == 1", {})"""


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
    socket = websocket.create_connection(f"ws://{SERVER}/api/kernels/{kernel}/channels", timeout=ANSWER_WITHIN)
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": {**header, "username": ""}, "parent_header": {}, "metadata": {}, "content": content}
    socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
    while True:
        answer = json.loads(socket.recv())
        if answer["msg_type"] == "execute_reply" and answer["parent_header"].get("msg_id") == header["msg_id"]:
            socket.close()
            return str(answer["content"]["status"])


def warm() -> str:
    wait_for_server()
    return execute_silently(request("POST", "/api/kernels", {"name": KERNEL})["id"], MARK)


def check() -> str:
    (kernel,) = request("GET", "/api/kernels")
    return execute_silently(kernel["id"], MARKED)


if __name__ == "__main__":
    sys.exit((check if sys.argv[1:] == ["--check"] else warm)() != "ok")
