"""What a start does with what nobody owns, with what cannot be removed, and with agents that do not answer."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from moonpool.engine.gvisor import Held, Running
from moonpool.engine.network import AGENT_PORT
from moonpool.errors import AgentTimeout, EngineError
from moonpool.hosts.adoption import AT_ONCE, Adopted, adopt, sweep
from moonpool.hosts.members import Foundry
from moonpool.hosts.model import MachineSpec, Resources
from moonpool.hosts.parts import Parts
from moonpool.hosts.records import Record, Records
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


class Crowd:
    """Members that run, whose agents answer once ``answering`` is set; ``awake`` are those that do not rest yet."""

    def __init__(self, size: int, records: Records) -> None:
        self.records = [
            Record(spec(f"box{number}"), f"m{number:04x}aaaaaaaa", number, "") for number in range(1, size + 1)
        ]
        for record in self.records:
            records.replace(record)
        self.awake, self.most, self.rested = set[str](), 0, list[str]()
        self.full, self.answering = asyncio.Event(), asyncio.Event()

    @property
    def parts(self) -> Parts:
        running = [SimpleNamespace(name=record.member) for record in self.records]
        driver = SimpleNamespace(running=lambda: running, held=lambda _member: Held.NO)
        network = SimpleNamespace(numbers=lambda: [record.slot for record in self.records], slot=lambda number: number)
        return cast(Parts, SimpleNamespace(driver=driver, network=network))

    @property
    def foundry(self) -> Foundry:
        return cast(Foundry, SimpleNamespace(adopt=self.adopt, numbers=SimpleNamespace(keep=lambda _numbers: None)))

    async def adopt(self, running: Any, _slot: int, _secret: str) -> Any:
        self.awake.add(running.name)
        self.most = max(self.most, len(self.awake))
        if len(self.awake) == AT_ONCE:
            self.full.set()
        await self.answering.wait()
        return running

    def rest(self, adopted: Adopted) -> None:
        self.awake.discard(adopted.record.member)
        self.rested.append(adopted.record.member)


def spec(name: str) -> MachineSpec:
    return MachineSpec(name, "image", Resources(1, 1, 1), name)


async def test_a_crowd_is_taken_over_by_a_few_at_a_time(tmp_path: Path) -> None:
    """All awake at once, hundreds would answer too late, and be taken for dead."""
    records = Records(tmp_path)
    crowd = Crowd(5 * AT_ONCE, records)
    adopting = asyncio.ensure_future(adopt(crowd.parts, crowd.foundry, records, cast(Threads, InPlace()), crowd.rest))
    await crowd.full.wait()
    crowd.answering.set()
    assert await adopting == {record.member for record in crowd.records}
    assert sorted(crowd.rested) == [record.member for record in crowd.records]
    assert crowd.most == AT_ONCE


class Silent:
    """A member that lives, of which nothing is heard."""

    def __init__(self, address: str, held: Held) -> None:
        self.held = held
        self.slot, self.slots = SimpleNamespace(number=1, address=address), [1]
        self.running = Running("m0001aaaaaaaa", os.getpid(), os.getpid())

    @property
    def parts(self) -> Parts:
        driver = SimpleNamespace(running=lambda: [self.running], held=lambda _member: self.held, resume=self.resume)
        network = SimpleNamespace(numbers=lambda: self.slots, slot=lambda _number: self.slot)
        nothing = SimpleNamespace(**dict.fromkeys(("bring_back", "thaw", "freeze", "set_limits"), lambda *_: None))
        return cast(Parts, SimpleNamespace(driver=driver, network=network, cgroups=nothing))

    def resume(self, _member: str) -> None:
        raise AgentTimeout

    async def adopted(self, records: Records) -> list[Adopted]:
        parts, taken = self.parts, list[Adopted]()
        threads = cast(Threads, InPlace())
        foundry = Foundry(parts.driver, parts.network, parts.cgroups, cast(Any, None), threads)
        await adopt(parts, foundry, records, threads, taken.append)
        return taken


@pytest.mark.parametrize("held", Held)
async def test_one_that_is_late_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    """Its kernel lives, so its memory is still to be had: what needs the agent asks for it again. It may still be busy
    with what the last server had begun."""
    monkeypatch.setattr("moonpool.hosts.members.CONNECT_TIMEOUT", 0.01)
    records = Records(tmp_path)
    records.replace(Record(spec("late"), "m0001aaaaaaaa", 1, "5ec4e7"))
    with socket.create_server(("127.77.0.1", AGENT_PORT)) as busy:
        (adopted,) = await Silent(busy.getsockname()[0], held).adopted(records)
    assert adopted.member.alive
    assert adopted.member.agent.closed.is_set()
    assert [record.spec.id for record in records.read_all()] == ["late"]
    adopted.member.unwatch()
