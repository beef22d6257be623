from collections.abc import Iterator
from pathlib import Path

import pytest

from moonpool.engine.instance import Instance
from moonpool.engine.storage import Pool

MEBIBYTE = 1024**2
POOL_SIZE = 1024 * MEBIBYTE


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path / "data")


@pytest.fixture
def pool(instance: Instance) -> Iterator[Pool]:
    opened = Pool.open(instance, size_bytes=POOL_SIZE)
    yield opened
    opened.close()
