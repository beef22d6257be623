"""SIGKILL between an event's commit and its arrival: it arrives, under one message id."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.faults.cut_off_deliveries import STEPS
from tests.receivers import HttpReceiver, http_receiver

LIMIT = 60.0  # seconds of one process


async def send(database: str, receiver: HttpReceiver, *step: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.faults.cut_off_deliveries", database, receiver.url, *step)
    return await asyncio.create_subprocess_exec(*command)


async def test_no_event_is_lost(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'db.sqlite'}"
    async with http_receiver() as receiver:
        for step in STEPS:
            killed = await send(database, receiver, step)
            assert await asyncio.wait_for(killed.wait(), LIMIT) == -signal.SIGKILL
        last = await send(database, receiver)
        messages: dict[str, set[str]] = {}
        count = 0
        while messages.keys() != STEPS.keys():
            count += 1
            for got in await receiver.wait(count):
                messages.setdefault(json.loads(got.body)["id"], set()).add(got.headers["webhook-id"])
        last.terminate()
        await last.wait()
    assert all(len(ids) == 1 for ids in messages.values())
