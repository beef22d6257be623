"""`moonpool bench` leaves nothing on the machine, however it ends."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moonpool.cli.settings import lock_holder
from moonpool.cli.workplace import FOLDER, MARK, PREFIX
from tests.cli.program import PROGRAM, TIMEOUT, Cli, environment_for
from tests.data import furnish
from tests.faults.uploads import wait_for


@pytest.fixture
def places() -> Iterator[list[Path]]:
    """Two temporary folders of benchmarks, with what a first start makes."""
    folders = [Path(tempfile.mkdtemp(prefix=PREFIX, dir=FOLDER)) for _ in range(2)]
    try:
        for folder in folders:
            furnish(folder)
            (folder / MARK).touch()
        yield folders
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def measuring(folder: Path, part: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A benchmark that has come as far as ``part``."""
    command = [PROGRAM, "bench", "--data", folder, *options]
    with subprocess.Popen(command, env=environment_for(folder), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if line == f"measuring: {part}\n":
                    break
            else:
                pytest.fail("".join(said))
            yield process
        finally:
            process.kill()


def traces(folder: Path) -> list[str]:
    """Processes, mounts and loop devices that have to do with ``folder``."""
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command:
                found.append(command)
    loops = subprocess.run(["losetup", "--list", "--output", "BACK-FILE"], capture_output=True, text=True, check=True)
    return [*found, *(line for line in loops.stdout.splitlines() if str(folder) in line)]


def wait_for_server(folder: Path) -> None:
    """Until that has ended which says in the lock that it serves there."""
    holder = lock_holder(folder)
    if holder is not None:
        with contextlib.suppress(ProcessLookupError):
            server = os.pidfd_open(int(holder.removeprefix("process ").partition(":")[0]))
            ended, _, _ = select.select([server], [], [], TIMEOUT)
            os.close(server)
            assert ended


def test_killed_and_told_to_end(places: list[Path]) -> None:
    engine, server = places
    with measuring(engine, "engine alone", "--quick") as bench:
        wait_for(lambda: any("runsc-sandbox" in line for line in traces(engine)))
        bench.kill()
    assert traces(engine)
    with measuring(server, "typing clients", "--typing", "1") as bench:
        assert not engine.exists()
        assert not traces(engine)
        assert traces(server)
        bench.kill()
    wait_for_server(server)
    assert not traces(server)
    with measuring(server, "typing clients", "--typing", "1") as bench:
        bench.send_signal(signal.SIGTERM)
        bench.send_signal(signal.SIGTERM)  # Impatience does not keep it from clearing up.
        assert bench.wait(TIMEOUT) == 128 + signal.SIGTERM
    assert not traces(server)


def test_a_folder_of_others_is_left_alone(lonely: Cli) -> None:
    lonely.data.mkdir()
    file = lonely.data / "db.sqlite"
    file.write_text("mine")
    assert "is not empty" in lonely.refused("bench", "--data", str(lonely.data), exit_code=2)
    assert [path.name for path in lonely.data.iterdir()] == [file.name]
    link = lonely.data.with_name("link")
    link.symlink_to(lonely.data)
    assert "is not empty" in lonely.refused("bench", "--data", str(link), exit_code=2)
    os.chown(lonely.data, 12345, -1)
    assert "another user's" in lonely.refused("bench", "--data", str(lonely.data))
    assert file.read_text() == "mine"
