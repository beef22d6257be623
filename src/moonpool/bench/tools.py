"""The tools of a sandbox: a line of Python in a context, a context's start, git beside its own time."""

import json
import time
from typing import Any

import httpx
import websockets

from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.http import call, create, execute, open_client, remove
from moonpool.bench.server import RunningServer

FILES = 10_000
REPOSITORY = f"""\
mkdir -p repo && cd repo && git init -q && mkdir -p $(seq -f 'd%g' 100) && \
for folder in $(seq 100); do for file in $(seq {FILES // 100}); do echo $file > d$folder/f$file; done; done && \
git add . && git -c user.name=a -c user.email=a@b commit -qm all && echo changed > d1/f1"""
OWN_TIME = "bash -c 'TIMEFORMAT=%3R; time git -C repo status --porcelain >/dev/null' 2>&1"


async def tool_figures(server: RunningServer, runs: int) -> list[Figure]:
    async with open_client(server) as client:
        identifier = await create(client)
        try:
            interpreter = Interpreter(server, client, identifier)
            await interpreter.line()

            async def starts(language: str) -> float:
                return await interpreter.start(language)

            few = max(5, runs // 5)
            return [
                await sample("a line of Python, warm context, HTTP", runs, interpreter.line, bar="p50 <= 15 ms"),
                await sample("a context of Python and its first line", few, lambda: starts("python"), bar="<= 1500 ms"),
                await sample("a context of JavaScript and its first line", few, lambda: starts("javascript")),
                await git_status(client, identifier, few),
            ]
        finally:
            await remove(client, identifier)


class Interpreter:
    def __init__(self, server: RunningServer, client: httpx.AsyncClient, identifier: str) -> None:
        self._path = f"/toolbox/{identifier}/process/interpreter"
        self._address = server.url.replace("http", "ws", 1) + f"{self._path}/execute"
        self._headers = {"Authorization": f"Bearer {server.api_key}"}
        self._client = client

    async def line(self, **request: Any) -> None:
        """With a connection of its own, as clients make it."""
        async with websockets.connect(self._address, additional_headers=self._headers, proxy=None) as socket:
            await socket.send(json.dumps({"code": "1 + 1", **request}))
            said = [json.loads(message) async for message in socket]
        if said[0].get("text") != "2\n":
            raise RuntimeError(str(said))

    async def start(self, language: str) -> float:
        started = time.perf_counter()
        context = await call(self._client, "POST", f"{self._path}/context", json={"language": language})
        await self.line(contextId=context["id"])
        taken = milliseconds_since(started)
        await call(self._client, "DELETE", f"{self._path}/context/{context['id']}")
        return taken


async def git_status(client: httpx.AsyncClient, identifier: str, runs: int) -> Figure:
    """How many times as long as git's own process takes, in turns with it."""
    await execute(client, identifier, REPOSITORY)
    path = f"/toolbox/{identifier}/git/status"
    home = (await execute(client, identifier, "pwd")).strip()

    async def compare() -> float:
        own = float(await execute(client, identifier, OWN_TIME)) * 1000
        started = time.perf_counter()
        status = await call(client, "GET", path, params={"path": f"{home}/repo"})
        taken = milliseconds_since(started)
        if len(status["fileStatus"]) != 1:
            raise RuntimeError(str(status)[:200])
        return taken / own

    return await sample(f"git status of {FILES} files, to git's own time", runs, compare, bar="<= 1.5", unit="x")
