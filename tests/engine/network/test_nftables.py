"""Transactions in a process with very many files open: the library would abort it."""

import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

from moonpool.engine.network.model import NetworkFailed
from moonpool.engine.network.nftables import FD_SETSIZE, Nftables
from tests.engine.network.conftest import Machine

TABLE = "moonpool_test_nftables"


@pytest.fixture
def many_files() -> Iterator[None]:
    """As a server has with a thousand clients connected."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * FD_SETSIZE), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(FD_SETSIZE):
            stack.callback(os.close, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def nftables(machine: Machine) -> Iterator[Nftables]:
    made = Nftables()
    made.run(f"add table inet {TABLE}")
    yield made
    made.run(f"delete table inet {TABLE}")


def test_changes_and_questions(nftables: Nftables, many_files: None) -> None:
    nftables.run(f"add set inet {TABLE} links {{ type ifname; }}")
    assert nftables.lacks(TABLE, "links", '"one"')
    nftables.run(f'add element inet {TABLE} links {{ "one" }}')
    assert not nftables.lacks(TABLE, "links", '"one"')
    assert ("inet", TABLE) in nftables.tables()
    (found,) = [item["set"] for item in nftables.query(f"list table inet {TABLE}") if "set" in item]
    assert (found["name"], found["elem"]) == ("links", ["one"])


def test_what_is_refused_is_told(nftables: Nftables, many_files: None) -> None:
    with pytest.raises(NetworkFailed, match="syntax error"):
        nftables.run("bogus")
