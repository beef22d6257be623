"""SIGTERM, three ways: what runs is ended, left for the next server, or saved."""

import httpx

from moonpool.hosts.leftovers import leftovers
from moonpool.hosts.settings import HostSettings
from tests.faults.answers import accepted
from tests.faults.inventory import inventory
from tests.faults.sandboxes import Sandbox, create
from tests.servers import Server

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
