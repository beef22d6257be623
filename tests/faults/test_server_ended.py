"""SIGTERM, three ways: what runs is saved, ended, or left for the next server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moonpool.engine.instance import Instance
from tests.servers import Server, create, execute, open_client, running_server


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def end_and_start(server: Server, how: str) -> None:
    """End it as one that was started with ``--on-exit how``, and start the next one."""
    server.end()
    server.start_again(on_exit=how)


def begin(client: httpx.Client) -> tuple[str, str]:
    """A sandbox with a file and a program in it: its id, and the program's process id."""
    box = create(client)
    execute(client, box, "echo kept > kept.txt")
    return box, execute(client, box, "nohup sleep 10000 >/dev/null 2>&1 & echo $!").strip()


def mounts_of(server: Server) -> list[str]:
    table = Path("/proc/self/mountinfo").read_text()
    return [line.split()[4] for line in table.splitlines() if str(server.data) in line.split()[4]]


def traces_of(server: Server) -> list[str]:
    """Processes, cgroups and mounts of this server, which has ended."""
    tag = Instance(server.data.resolve()).tag
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/moonpool-{tag}")]
    processes = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and names(entry, server)]
    return [*groups, *processes, *mounts_of(server)]


def names(process: Path, server: Server) -> bool:
    try:
        return str(server.data / "run") in (process / "cmdline").read_text()
    except OSError:
        return False


def test_keep_leaves_sandboxes_to_the_next_server(own_server: Server) -> None:
    end_and_start(own_server, "keep")
    with open_client(own_server) as client:
        box, program = begin(client)
        end_and_start(own_server, "stop")
        assert client.get(f"/api/sandbox/{box}").json()["state"] == "started"
        assert execute(client, box, f"cat /proc/{program}/comm kept.txt") == "sleep\nkept\n"


def test_pause_saves_memory_and_leaves_nothing_behind(own_server: Server) -> None:
    end_and_start(own_server, "pause")
    with open_client(own_server) as client:
        box, program = begin(client)
        own_server.end()
        assert traces_of(own_server) == []
        own_server.start_again()
        assert client.get(f"/api/sandbox/{box}").json()["state"] == "paused"
        assert client.post(f"/api/sandbox/{box}/start").status_code == 200
        assert execute(client, box, f"cat /proc/{program}/comm kept.txt") == "sleep\nkept\n"


def test_stop_keeps_files_and_leaves_nothing_behind(own_server: Server) -> None:
    with open_client(own_server) as client:
        box, _ = begin(client)
        own_server.end()
        assert traces_of(own_server) == []
        own_server.start_again()
        assert client.get(f"/api/sandbox/{box}").json()["state"] == "stopped"
        assert client.post(f"/api/sandbox/{box}/start").status_code == 200
        assert execute(client, box, "cat kept.txt") == "kept\n"
