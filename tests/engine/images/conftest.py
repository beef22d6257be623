from collections.abc import Iterator
from pathlib import Path

import pytest

from moonpool.engine.images import Image, Means, ensure_base
from moonpool.engine.instance import Instance
from moonpool.engine.storage import Pool

GIBIBYTE = 1024**3
CACHE = Path("/var/cache/moonpool")  # the server's own; without its archive the first test builds it, for a minute


def silent(_phase: str, _fraction: float) -> None:
    pass


@pytest.fixture(scope="session")
def shared_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    opened = Pool.open(Instance(tmp_path_factory.mktemp("images")), size_bytes=8 * GIBIBYTE)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def base(shared_pool: Pool) -> Image:
    return ensure_base(shared_pool, Means(CACHE, silent))


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    opened = Pool.open(Instance(tmp_path / "data"), size_bytes=4 * GIBIBYTE)
    yield opened
    opened.close()
