"""Answers with a lot of text: the same JSON, made while others have their turn."""

import asyncio
import json

import pytest
from starlette.responses import Response
from starlette.types import Message

from moonpool.dialects.common.bulk import BULK, MANY, PIECE, json_answer, json_list


async def sent(answer: Response) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await answer({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    return messages


def body_of(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


TEXTS = [
    b"",
    b'plain "quoted" \\ and \x01\n',
    b"\0" * (BULK + 7),
    ("x" + "\u00e9\U0001f600" * (BULK // 2)).encode(),  # characters that pieces are cut in the middle of
    b"\xff" * (BULK + 1),
    b"a" * BULK + b"\xe2\x82",  # cut off
    "words \ud800 that are none" * (BULK // 8),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_it_says_the_same_in_pieces(text: bytes | str) -> None:
    document = {"code": -1, "result": text, "more": ["x", None], "error": b"e"}
    told = json.loads(body_of(await sent(json_answer(document))))
    whole = text.decode(errors="replace") if isinstance(text, bytes) else text.encode(errors="replace").decode()
    assert told == {"code": -1, "result": whole, "more": ["x", None], "error": "e"}


async def test_others_have_their_turn_meanwhile() -> None:
    turns, over = 0, asyncio.Event()

    async def count() -> None:
        nonlocal turns
        while not over.is_set():
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    messages = await sent(json_answer({"result": b"\0" * (20 * PIECE)}))
    over.set()
    await counting
    assert turns >= 20
    assert max(len(message.get("body", b"")) for message in messages) <= 6 * PIECE


@pytest.mark.parametrize("count", [0, 1, MANY, MANY + 1, 3 * MANY])
async def test_lists(count: int) -> None:
    messages = await sent(json_list(range(count), lambda number: {"n": number}))
    assert json.loads(body_of(messages)) == [{"n": number} for number in range(count)]
    assert len(messages) > count // MANY
    named = await sent(json_list(range(count), lambda number: {"n": number}, "all"))
    assert json.loads(body_of(named)) == {"all": [{"n": number} for number in range(count)]}
