"""Events of interpreters, in which code can write what it likes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from moonpool.guest.client import AgentClient
from moonpool.guest.model import Output, ProcessEvent, ProcessInfo
from moonpool.processes.interpreters import JOINED, Execution, ExecutionTimeout, Run, event_of


def test_an_event() -> None:
    assert event_of(b'{"type": "stdout", "text": "a"}') == {"type": "stdout", "text": "a"}


@pytest.mark.parametrize("line", [b"", b"7", b'{"type": ["stdout"]}', b'{"type": "other"}', b"[" * 100_000, b"\xff"])
def test_lines_that_are_none(line: bytes) -> None:
    assert event_of(line) == {}


INFO = ProcessInfo(7, "tag", ("python3",), "/", "root", False, 0.0, True, None, None, False, None, None)


class Interpreter:
    """Answers any code with the same events, all at once."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = answers
        self.interrupted = asyncio.Event()
        self._asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def write_stdin(self, _pid: int, data: bytes) -> None:
        self._asked.set_result(json.loads(data)["id"])

    async def signal(self, _pid: int, _number: int, *, group: bool) -> None:
        self.interrupted.set()

    async def events(self) -> AsyncIterator[ProcessEvent]:
        number = await self._asked
        said = b"".join(json.dumps({"id": number, **answer}).encode() + b"\n" for answer in self._answers)
        yield Output("stdout", said)
        await asyncio.Event().wait()


async def told(*answers: dict[str, Any]) -> list[dict[str, Any]]:
    interpreter, seen = Interpreter(*answers), []
    async with Run(cast(AgentClient, interpreter), INFO, interpreter.events(), 20.0) as run:
        await run.begin(Execution(code="code"))
        while (event := await run.next_event()) is not None:
            seen.append(event)
    return seen


def out(text: str) -> dict[str, Any]:
    return {"type": "stdout", "text": text}


def err(text: str) -> dict[str, Any]:
    return {"type": "stderr", "text": text}


END = {"type": "control", "text": "completed"}


async def test_what_is_written_meanwhile_is_told_at_once() -> None:
    written = [out(f"{number}\n") for number in range(100)]
    answer = await told(*written, err("a"), err("b"), out("last"), END)
    assert answer == [out("".join(each["text"] for each in written)), err("ab"), out("last"), END]


async def test_only_so_much_is_told_at_once() -> None:
    assert await told(out("x" * JOINED), out("y"), END) == [out("x" * JOINED), out("y"), END]


async def test_what_is_no_text_is_left_as_it_is() -> None:
    odd, strange = {"type": "stdout", "text": 7}, {"type": "stdout", "id": "another"}
    assert await told(odd, out("a"), odd, strange, out("b"), END) == [odd, out("a"), odd, out("b"), END]


async def test_what_was_written_before_time_was_over_is_told() -> None:
    """It may still be on its way then."""
    interpreter = Interpreter(out("begun"), err("!"), {"type": "error", "name": "KeyboardInterrupt"}, END)

    async def late() -> AsyncIterator[ProcessEvent]:
        await interpreter.interrupted.wait()
        async for event in interpreter.events():
            yield event

    async with Run(cast(AgentClient, interpreter), INFO, late(), 0.01) as run:
        await run.begin(Execution(code="code"))
        with pytest.raises(ExecutionTimeout):
            await run.next_event()
        assert await run.interrupt() == [out("begun"), err("!")]
