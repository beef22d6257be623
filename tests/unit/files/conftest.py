from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import ManualClock
from tests.unit.guest.conftest import everyones
from tests.unit.inside import Inside, running_inside

__all__ = ["everyones"]


@pytest.fixture
async def inside(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Inside]:
    async with running_inside(clock, tmp_path, user="nobody") as made:
        yield made
