"""The tools of a sandbox: interpreters, language servers, git beside its own time."""

import time

import httpx

from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.http import call, create, execute, open_client, remove
from moonpool.bench.interpreters import interpreter_figures
from moonpool.bench.languages import language_figures
from moonpool.bench.server import RunningServer

FILES = 10_000
REPOSITORY = f"""\
mkdir -p repo && cd repo && git init -q && mkdir -p $(seq -f 'd%g' 100) && \
for folder in $(seq 100); do for file in $(seq {FILES // 100}); do echo $file > d$folder/f$file; done; done && \
git add . && git -c user.name=a -c user.email=a@b commit -qm all && echo changed > d1/f1"""
OWN_TIME = "bash -c 'TIMEFORMAT=%3R; time git -C repo status --porcelain >/dev/null' 2>&1"


async def tool_figures(server: RunningServer, runs: int) -> list[Figure]:
    async with open_client(server) as client:
        return [
            *await interpreter_figures(server, client, runs),
            *await language_figures(server, client, runs),
            await git_status(client, max(5, runs // 5)),
        ]


async def git_status(client: httpx.AsyncClient, runs: int) -> Figure:
    """How many times as long as git's own process takes, in turns with it."""
    identifier = await create(client)
    path = f"/toolbox/{identifier}/git/status"

    async def compare() -> float:
        own = float(await execute(client, identifier, OWN_TIME)) * 1000
        started = time.perf_counter()
        status = await call(client, "GET", path, params={"path": f"{home}/repo"})
        taken = milliseconds_since(started)
        if len(status["fileStatus"]) != 1:
            raise RuntimeError(str(status)[:200])
        return taken / own

    try:
        await execute(client, identifier, REPOSITORY)
        home = (await execute(client, identifier, "pwd")).strip()
        return await sample(f"git status of {FILES} files, to git's own time", runs, compare, bar="<= 1.5", unit="x")
    finally:
        await remove(client, identifier)
