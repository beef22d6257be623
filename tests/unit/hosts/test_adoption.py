"""What a start does with what nobody owns, and with what cannot be removed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from moonpool.errors import EngineError
from moonpool.hosts.adoption import sweep
from moonpool.hosts.members import Foundry
from moonpool.hosts.parts import Parts
from moonpool.hosts.threads import Threads

OWNED, DEAD, STUCK = "m0001aaaaaaaa", "m0002bbbbbbbb", "m0003cccccccc"


class Machine:
    """Members of three slots and a fourth slot of nobody; one member's processes do not die."""

    def __init__(self) -> None:
        self.members = {OWNED, DEAD, STUCK, "warm-build"}
        self.slots = {1, 2, 3, 4}
        self.numbers: set[int] = set()

    @property
    def parts(self) -> Parts:
        names = SimpleNamespace(names=lambda: list(self.members))
        network = SimpleNamespace(numbers=lambda: list(self.slots), destroy=self.slots.discard)
        pool = SimpleNamespace(names=lambda _kind: [])
        return cast(Parts, SimpleNamespace(driver=names, cgroups=names, network=network, pool=pool))

    @property
    def foundry(self) -> Foundry:
        numbers = SimpleNamespace(keep=self.numbers.update)
        return cast(Foundry, SimpleNamespace(clear=self.clear, numbers=numbers))

    async def clear(self, name: str, _number: int | None) -> None:
        if name in (STUCK, "warm-build"):
            raise EngineError(f"processes [7] of {name} do not die")
        self.members.discard(name)


class InPlace:
    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


async def test_what_cannot_be_removed_keeps_its_slot_and_nobody_else_waiting() -> None:
    machine = Machine()
    await sweep(machine.parts, machine.foundry, {OWNED}, cast(Threads, InPlace()))
    assert machine.members == {OWNED, STUCK, "warm-build"}
    assert machine.slots == {1, 3}
    assert machine.numbers == {1, 3}
