"""Memory on disk that is no longer what was written: the resume is refused, and the disk is still good."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox
from tests.servers import Server


def change_a_byte(path: Path) -> None:
    """In the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x10]))


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a byte of the kernel's state": ("checkpoint.img", change_a_byte),
    "a byte of the pages": ("pages.img", change_a_byte),
    "a byte of the pages' table": ("pages_meta.img", change_a_byte),
    "the end of the pages": ("pages.img", cut_off),
    "the kernel's state": ("checkpoint.img", remove),
    "half of the manifest": ("manifest.json", cut_off),
    "the manifest": ("manifest.json", remove),
    "everything": (".", remove),
}


def test_each_file_is_damaged_below(server: Server, box: Sandbox) -> None:
    accepted(box.change("pause"))
    files = {entry.name for entry in (server.data / "memory" / box.id).iterdir()}
    assert files == {name for name, _ in DAMAGE.values()} - {"."}


@pytest.mark.parametrize("number", range(len(DAMAGE)), ids=list(DAMAGE))
def test_damage_is_told_and_costs_memory_alone(server: Server, box: Sandbox, number: int) -> None:
    name, damage = list(DAMAGE.values())[number]
    box.start_process("sleep 1000")
    box.run("echo kept > kept.txt")
    accepted(box.change("pause"))
    damage(server.data / "memory" / box.id / name)
    answer = box.client.post(f"{box.capsule}/resume") if number % 2 else box.change("start")
    message = refused(answer, 400, 409, 500, 502)
    row = box.rests()
    assert row["state"] in ("error", "stopped")
    assert row["errorReason"] in message
    assert row["recoverable"]
    accepted(box.change("start"))
    assert box.run("cat kept.txt") == "kept\n"
    assert box.run("pgrep -x sleep || echo none") == "none\n"
    assert not list((server.data / "memory").glob(f"{box.id}*"))
