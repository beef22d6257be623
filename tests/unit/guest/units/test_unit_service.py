"""The service that dialects use, with a real agent behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from moonpool.errors import UnitExists, UnitNotFound
from moonpool.processes.units.model import UnitPatch, UnitSpec
from moonpool.processes.units.service import UnitService
from tests.unit.guest.units.conftest import Box

WHO: Any = None  # nobody asks: whom a sandbox belongs to is not this service's matter


class OneSandbox:
    """The way into the one sandbox that there is."""

    def __init__(self, box: Box) -> None:
        self._box = box

    @asynccontextmanager
    async def session(self, principal: Any, sandbox: str) -> AsyncIterator[Any]:
        yield SimpleNamespace(sandbox=None, agent=self._box.agent)


@pytest.fixture
def units(box: Box) -> UnitService:
    return UnitService(OneSandbox(box))


async def test_a_unit_from_its_making_to_its_end(units: UnitService) -> None:
    unit = await units.create(WHO, "one", UnitSpec("web", "service", ("/bin/echo up", "/bin/sleep 600")))
    assert (unit.name, unit.active_state, unit.sub_state, unit.enabled) == (
        "web.service",
        "active",
        "running",
        "enabled",
    )
    assert (unit.own, unit.pid is not None) == (True, True)
    with pytest.raises(UnitExists):
        await units.create(WHO, "one", UnitSpec("web", "service", ("/bin/true",)))
    (stopped, missing) = await units.stop(WHO, "one", ["web", "nothing"])
    assert (stopped.name, stopped.success, missing.success) == ("web", True, False)
    lines = await units.logs(WHO, "one", "web")
    assert "up" in [line.message for line in lines]
    assert lines == sorted(lines, key=lambda line: line.timestamp)
    assert len(await units.logs(WHO, "one", "web", lines=2)) == 2
    assert await units.logs(WHO, "one", "web", since=lines[-1].timestamp + 60) == []
    await units.delete(WHO, "one", "web")
    for act in (units.get, units.delete, units.logs):
        with pytest.raises(UnitNotFound):
            await act(WHO, "one", "web")


async def test_many_are_started_in_their_order_and_what_failed_is_told(units: UnitService, box: Box) -> None:
    def step(name: str, command: str, *after: str) -> UnitSpec:
        return UnitSpec(name, "oneshot", (f"/bin/sh -c '{command}'",), after=after, requires=after)

    await units.install(
        WHO,
        "one",
        [
            step("third", "echo 3 >>/root/order", "second"),
            step("second", "echo 2 >>/root/order", "first"),
            step("first", "sleep 0.2; echo 1 >>/root/order"),
            step("broken", "echo because >&2; exit 3"),
        ],
    )
    result = await units.settle(WHO, "one", 60)
    assert (box.root / "root/order").read_text().split() == ["1", "2", "3"]
    assert result.settled
    assert [(unit.name, unit.result, unit.exit_code) for unit in result.failed] == [("broken.service", "exit-code", 3)]


async def test_a_patch_changes_what_is_there(units: UnitService, box: Box) -> None:
    await units.create(WHO, "one", UnitSpec("say", "oneshot", ("/bin/sh -c 'echo $A$B'",), env={"A": "old"}))
    await units.install(WHO, "one", (), [UnitPatch("say", mode="oneshot", env={"B": "new"})])
    assert "oldnew" in [line.message for line in await units.logs(WHO, "one", "say")]
    with pytest.raises(UnitNotFound):
        await units.install(WHO, "one", (), [UnitPatch("other", env={"B": "new"})])


async def test_a_oneshot_that_goes_away_is_gone(units: UnitService) -> None:
    spec = UnitSpec("brief", "oneshot", ("/bin/true",), delete_after_success=True, remain_after_exit=False)
    (result,) = await units.install(WHO, "one", [spec])
    assert result.success
    assert (await units.settle(WHO, "one", 60)).failed == ()
    assert "brief.service" not in [unit.name for unit in await units.list(WHO, "one")]
