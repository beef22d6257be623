"""One host for the tests that leave nothing on it."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.data import data_folder
from tests.engine.hosts.test_copies import Machine


@pytest.fixture(scope="session")
def host() -> Iterator[Machine]:
    with data_folder() as data, asyncio.Runner() as runner:
        machine = Machine(runner, data)
        yield machine
        assert machine.run(machine.host.machines()) == {}
        assert machine.run(machine.host.volumes()) == set()
        machine.close()
