"""SIGTERM, three ways: what runs is ended, left for the next server, or saved; and SIGTERM before there is a server."""

import os
import signal
import tempfile
import time
from pathlib import Path

import httpx

from moonpool.hosts.leftovers import leftovers
from moonpool.hosts.settings import HostSettings
from tests.data import VAR_TMP
from tests.faults.answers import accepted
from tests.faults.inventory import inventory
from tests.faults.sandboxes import Sandbox, create
from tests.ports import free_port
from tests.servers import STOP_TIMEOUT, Server, launch

Run = tuple[Sandbox, str]


def begin(client: httpx.Client) -> Run:
    """A sandbox with a file in it, and the id of a program that runs there."""
    box = create(client)
    box.run("echo kept > kept.txt")
    return box, box.start_process("sleep 10000")


def traces_of(server: Server) -> list[str]:
    """Of a server that has ended. A device is let go with the last copy of the mount table that knows it, whoever's."""
    return [thing for thing in leftovers(HostSettings(data=server.data)) if not thing.startswith("loop device")]


def goes_on(run: Run) -> None:
    box, program = run
    assert box.run(f"cat /proc/{program}/comm kept.txt") == "sleep\nkept\n"


def test_what_runs_is_stopped_kept_or_saved(server: Server, client: httpx.Client) -> None:
    """One after the other, since each server is told at its start what to do at its end; the first one is to stop."""
    stopped = begin(client)
    server.end()
    assert traces_of(server) == []

    server.start_again(on_exit="keep")
    assert stopped[0].state == "stopped"
    accepted(stopped[0].change("start"))
    assert stopped[0].run("cat kept.txt; pgrep -x sleep || true") == "kept\n"
    stopped[0].destroy()
    kept = begin(client)
    server.end()
    assert inventory(server).records == {kept[0].id}
    assert inventory(server).kernels == 1

    server.start_again(on_exit="pause")
    assert kept[0].state == "started"
    goes_on(kept)
    server.end()
    assert traces_of(server) == []

    server.start_again(on_exit="stop")
    assert kept[0].state == "paused"
    accepted(kept[0].change("start"))
    goes_on(kept)
    kept[0].destroy()


def test_a_first_start_is_given_up_while_it_builds_the_image() -> None:
    with tempfile.TemporaryDirectory(prefix="moonpool-test-", dir=VAR_TMP) as folder:
        data, cache = Path(folder) / "data", Path(folder) / "cache"
        data.mkdir()
        process = launch(
            f"http://127.0.0.1:{free_port()}", data, {**os.environ, "MOONPOOL_CACHE": str(cache)}, forked=True
        )
        wait_for_build(cache)
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT)
        assert "given_up" in (data / "server.log").read_text()
        assert leftovers(HostSettings(data=data)) == []
        assert {path.name for path in cache.iterdir()} <= {"base.lock", "downloads"}


def wait_for_build(cache: Path) -> None:
    """Until a process has been given what is laid on the image."""
    deadline = time.monotonic() + STOP_TIMEOUT
    while not any(str(cache / "build-base").encode() in words for words in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # Another process's child: its only sign is that it is there.


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found
