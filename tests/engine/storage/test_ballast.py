"""The pool promises no more than the machine has."""

import os
from pathlib import Path

import pytest

from moonpool.engine.instance import Instance
from moonpool.engine.storage import Pool
from moonpool.engine.storage.ballast import MARGIN, MEBIBYTE, SCARCE, SET_ASIDE, Room


@pytest.mark.parametrize(
    ("room", "wanted"),
    [
        (Room(machine=9000, pool=900, used=100, backed=100, ballast=0, set_aside=True), 0),
        (Room(machine=500, pool=900, used=100, backed=100, ballast=0, set_aside=True), 400),
        (Room(machine=500, pool=500, used=500, backed=100, ballast=400, set_aside=True), 400),
        (Room(machine=300, pool=500, used=500, backed=300, ballast=400, set_aside=True), 400),
        (Room(machine=9000, pool=500, used=500, backed=100, ballast=400, set_aside=True), 0),
        (Room(machine=0, pool=500, used=500, backed=100, ballast=400, set_aside=True), 900),
    ],
    ids=["enough", "too little", "balanced", "blocks that were freed", "enough again", "none"],
)
def test_it_takes_what_the_machine_lacks(room: Room, wanted: int) -> None:
    """In MiB, apart from the margin that is always kept."""
    machine = room.machine * MEBIBYTE + (MARGIN if room.machine else 0)
    sizes = {name: getattr(room, name) * MEBIBYTE for name in ("pool", "used", "backed", "ballast")}
    assert Room(machine=machine, **sizes, set_aside=True).wanted == wanted * MEBIBYTE
    if room.machine:
        assert Room(machine=machine + SET_ASIDE, **sizes, set_aside=False).wanted == wanted * MEBIBYTE


def test_a_pool_that_the_machine_can_back_is_left_alone(pool: Pool) -> None:
    before = pool.free_bytes()
    pool.balance()
    assert not (pool.path / "ballast").exists()
    assert abs(pool.free_bytes() - before) < SCARCE


def test_a_pool_larger_than_the_machine_is_made_smaller(instance: Instance) -> None:
    instance.data.mkdir()
    machine = os.statvfs(instance.data)
    free = machine.f_bavail * machine.f_frsize
    pool = Pool.open(instance, size_bytes=2 * free)
    try:
        pool.balance()
        assert os.statvfs(pool.path).f_bavail * os.statvfs(pool.path).f_frsize < free
        assert backed(instance.data / "pool.img") < 100 * MEBIBYTE
        (pool.path / "file").write_bytes(bytes(MEBIBYTE))
    finally:
        pool.close()


def backed(path: Path) -> int:
    return path.stat().st_blocks * 512
