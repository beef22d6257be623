"""One host for the tests that leave nothing on it."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.hosts.test_copies import Machine


@pytest.fixture(scope="session")
def host() -> Iterator[Machine]:
    data = Path(tempfile.mkdtemp(prefix="moonpool-test-", dir="/var/tmp"))
    try:
        with asyncio.Runner() as runner:
            machine = Machine(runner, data)
            yield machine
            assert machine.run(machine.host.machines()) == {}
            assert machine.run(machine.host.volumes()) == set()
            machine.close()
    finally:
        shutil.rmtree(data)
