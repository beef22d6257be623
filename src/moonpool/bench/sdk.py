"""The same through the official Daytona SDK, where it is installed."""

import importlib.util
import time
from typing import Any

from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.server import RunningServer, wait_until_ready


def installed() -> bool:
    return importlib.util.find_spec("daytona") is not None


async def sdk_figures(server: RunningServer, runs: int) -> list[Figure]:
    """``create()`` and a first ``process.exec("echo hi")``, as a user writes it."""
    sdk: Any = importlib.import_module("daytona")
    config = sdk.DaytonaConfig(api_url=f"{server.url}/api", api_key=server.api_key)
    async with sdk.AsyncDaytona(config) as daytona:

        async def once() -> float:
            await wait_until_ready(server)
            started = time.perf_counter()
            sandbox = await daytona.create()
            try:
                answer = await sandbox.process.exec("echo hi")
                elapsed = milliseconds_since(started)
            finally:
                await sandbox.delete()
            if answer.result != "hi\n":
                raise RuntimeError(answer.result)
            return elapsed

        return [await sample("create + first command, Daytona SDK", runs, once, bar="p50 <= 0.8 x runsc")]
