"""Answers with a lot of text: the same JSON, made while others have their turn."""

import asyncio
import json

import pytest
from starlette.types import Message

from moonpool.dialects.common.bulk import BULK, PIECE, json_answer


async def sent(document: dict[str, object]) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await json_answer(document)({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
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
    told = json.loads(body_of(await sent(document)))
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
    messages = await sent({"result": b"\0" * (20 * PIECE)})
    over.set()
    await counting
    assert turns >= 20
    assert max(len(message.get("body", b"")) for message in messages) <= 6 * PIECE
