"""Commits that those who wait at the same time share."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from moonpool.errors import EngineError
from moonpool.hosts.commits import SharedCommits
from moonpool.hosts.threads import Threads


class Disk:
    """Counts its commits; each goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.begins, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.failure: EngineError | None = None

    def commit(self) -> None:
        self.begun += 1
        self.begins.release()
        self.may_end.acquire()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def threads() -> Iterator[Threads]:
    opened = Threads()
    yield opened
    opened.close()


async def begins(disk: Disk) -> None:
    await asyncio.to_thread(disk.begins.acquire)


async def test_who_comes_while_one_runs_shares_the_next(threads: Threads) -> None:
    disk = Disk()
    commits = SharedCommits(disk.commit, threads)
    first = commits.begin()
    await begins(disk)
    others = [commits.begin() for _ in range(5)]
    disk.may_end.release()
    await first
    assert not any(other.done() for other in others)  # The one that ran may not have known of them.
    await begins(disk)
    disk.may_end.release()
    await asyncio.gather(*others)
    assert disk.begun == 2


async def test_those_at_the_same_moment_need_one(threads: Threads) -> None:
    disk = Disk()
    commits = SharedCommits(disk.commit, threads)
    disk.may_end.release()
    await asyncio.gather(*(commits.begin() for _ in range(5)))
    assert disk.begun == 1


async def test_each_who_waits_is_told_of_a_failure_and_the_next_one_is_tried(threads: Threads) -> None:
    disk = Disk()
    commits = SharedCommits(disk.commit, threads)
    disk.failure = EngineError("The disk is broken")
    disk.may_end.release()
    waiting = [commits.begin(), commits.begin()]
    for one in waiting:
        with pytest.raises(EngineError, match="broken"):
            await one
    disk.failure = None
    disk.may_end.release()
    await commits.begin()
    assert disk.begun == 2
