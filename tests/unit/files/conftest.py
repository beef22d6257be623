from collections.abc import AsyncIterator

import pytest

from tests.conftest import ManualClock
from tests.unit.guest.conftest import everyones
from tests.unit.inside import Inside, running_inside

__all__ = ["everyones"]


@pytest.fixture
async def inside(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inside]:
    """Its data are not below the folder that tests watch."""
    async with running_inside(clock, tmp_path_factory.mktemp("inside"), user="nobody") as made:
        yield made
