"""Interpreters: a line in a warm context, a context's first line in a new sandbox, and in one that has it in memory."""

import json
import time
from typing import Any

import httpx
import websockets

from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.http import call, create, remove
from moonpool.bench.server import RunningServer
from moonpool.ids import new_uuid


class Interpreter:
    """The contexts of one sandbox."""

    def __init__(self, server: RunningServer, client: httpx.AsyncClient, identifier: str) -> None:
        self._path = f"/toolbox/{identifier}/process/interpreter"
        self._address = server.url.replace("http", "ws", 1) + f"{self._path}/execute"
        self._headers = {"Authorization": f"Bearer {server.api_key}"}
        self._client = client

    async def run(self, code: str, **request: Any) -> str:
        """What it prints. With a connection of its own, as clients make it."""
        async with websockets.connect(self._address, additional_headers=self._headers, proxy=None) as socket:
            await socket.send(json.dumps({"code": code, **request}))
            said = [json.loads(message) async for message in socket]
        if wrong := [message for message in said if message["type"] == "error"]:
            raise RuntimeError(str(wrong))
        return "".join(message["text"] for message in said if message["type"] == "stdout")

    async def line(self, **request: Any) -> None:
        if (said := await self.run("1 + 1", **request)) != "2\n":
            raise RuntimeError(said)

    async def start(self, language: str) -> float:
        started = time.perf_counter()
        context = await call(self._client, "POST", f"{self._path}/context", json={"language": language})
        await self.line(contextId=context["id"])
        taken = milliseconds_since(started)
        await call(self._client, "DELETE", f"{self._path}/context/{context['id']}")
        return taken


async def interpreter_figures(server: RunningServer, client: httpx.AsyncClient, runs: int) -> list[Figure]:
    few = max(5, runs // 5)
    return [
        *await _warm(server, client, runs, few),
        await _cold(server, client, "Python", few, "<= 1500 ms"),
        await _cold(server, client, "JavaScript", few, "<= 1500 ms"),
        await _from_memory(server, client, few),
    ]


async def _warm(server: RunningServer, client: httpx.AsyncClient, runs: int, few: int) -> list[Figure]:
    identifier = await create(client)
    try:
        interpreter = Interpreter(server, client, identifier)
        await interpreter.line()
        return [
            await sample("a line of Python, warm context, HTTP", runs, interpreter.line, bar="p50 <= 15 ms"),
            await sample("one more context of Python and its first line", few, lambda: interpreter.start("python")),
            await sample(
                "one more context of JavaScript and its first line", few, lambda: interpreter.start("javascript")
            ),
        ]
    finally:
        await remove(client, identifier)


async def _cold(server: RunningServer, client: httpx.AsyncClient, language: str, runs: int, bar: str) -> Figure:
    """In a sandbox that is new as well, so that nothing of the image is in its cache."""

    async def first() -> float:
        identifier = await create(client)
        try:
            return await Interpreter(server, client, identifier).start(language.lower())
        finally:
            await remove(client, identifier)

    return await sample(f"a new sandbox's first context of {language}, first line, cold", runs, first, bar=bar)


async def _from_memory(server: RunningServer, client: httpx.AsyncClient, runs: int) -> Figure:
    """In a sandbox of a snapshot with memory, whose context runs already; the sandbox's own start is not counted."""
    name = f"bench-{new_uuid()}"
    source = await create(client)
    try:
        await Interpreter(server, client, source).run("number = 1")
        await call(client, "POST", f"/api/sandbox/{source}/snapshot", json={"name": name, "includeMemory": True})
    finally:
        await remove(client, source)
    snapshot = await call(client, "GET", f"/api/snapshots/{name}")

    async def first() -> float:
        identifier = str((await call(client, "POST", "/api/sandbox", json={"snapshot": name}))["id"])
        try:
            started = time.perf_counter()
            if (said := await Interpreter(server, client, identifier).run("number + 1")) != "2\n":
                raise RuntimeError(said)
            return milliseconds_since(started)
        finally:
            await remove(client, identifier)

    try:
        return await sample("the same from a snapshot's memory", runs, first, bar="<= 200 ms")
    finally:
        await call(client, "DELETE", f"/api/snapshots/{snapshot['id']}")
