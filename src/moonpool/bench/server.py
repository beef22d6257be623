"""A server of the benchmark's own, in a process of its own, as users have it."""

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

START_TIMEOUT = 180.0  # seconds
STOP_TIMEOUT = 120.0  # seconds
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class RunningServer:
    url: str
    api_key: str
    pid: int


@contextlib.asynccontextmanager
async def serving(data: Path, warm_pool: int, **settings: str) -> AsyncIterator[RunningServer]:
    """`moonpool serve` on a free loopback port, ended with its sandboxes afterwards. ``settings`` are variables."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = f"mp_{secrets.token_urlsafe(32)}"
    environment = {
        **os.environ,
        "MOONPOOL_API_KEY": key,
        "MOONPOOL_POOL_SIZE": str(warm_pool),
        **settings,
    }
    command = (sys.executable, "-m", "moonpool", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(data))
    process = await asyncio.create_subprocess_exec(
        *command,
        "--on-exit",
        "stop",
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    server = RunningServer(f"http://127.0.0.1:{port}", key, process.pid)
    try:
        await wait_until_ready(server, process)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT)


def end_with_parent() -> None:
    """Of a benchmark that is killed, the server ends, too."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def wait_until_ready(server: RunningServer, process: asyncio.subprocess.Process | None = None) -> None:
    """Until the warm pool is filled; raises RuntimeError when the server ends instead."""
    async with asyncio.timeout(START_TIMEOUT), httpx.AsyncClient(trust_env=False) as client:
        while True:
            if process is not None and process.returncode is not None:
                raise RuntimeError(f"The server ended with code {process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{server.url}/healthz")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.02)  # Another process: its only sign is that it answers.
