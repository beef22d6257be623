"""Waiting until the machine has nothing left to do from what was measured before."""

import asyncio
import os

WINDOW = 0.25  # seconds over which it is looked at
BUSY = 0.25  # of all processors: what sandboxes that are awake take is less
PATIENCE = 5.0  # seconds
STAT = "/proc/stat"
IDLE = slice(3, 5)  # idle, iowait


async def calm() -> None:
    """What was written is on disk, and the processors are free; after ``PATIENCE`` seconds
    whatever there is. Nobody forks a sandbox while the machine still writes twenty earlier copies of it."""
    await asyncio.to_thread(os.sync)
    try:
        async with asyncio.timeout(PATIENCE):
            while await _busy() > BUSY:
                pass
    except TimeoutError:
        return


async def _busy() -> float:
    before = _ticks()
    await asyncio.sleep(WINDOW)
    spent = [after - earlier for after, earlier in zip(_ticks(), before, strict=True)]
    return 1 - sum(spent[IDLE]) / max(1, sum(spent))


def _ticks() -> list[int]:
    with open(STAT, encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:9]]
