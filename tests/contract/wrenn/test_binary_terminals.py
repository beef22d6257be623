"""A server set to the terminal frames of SDK 0.3.0."""

import json
from typing import Any

import pytest

from moonpool.config import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data = tmp_path_factory.mktemp("data")
    return Settings(data=data, api_key="a-key-of-these-tests", on_exit="keep", wrenn_terminal_frames="binary")


async def test_output_is_binary_from_the_start(api: Any, capsule: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(json.dumps({"type": "start", "cmd": "/bin/echo", "args": ["bytes"]}))
        frames = [frame async for frame in socket]
    assert b"".join(frame for frame in frames if isinstance(frame, bytes)) == b"bytes\r\n"
    controls = [json.loads(frame)["type"] for frame in frames if isinstance(frame, str)]
    assert controls == ["started", "exit"]
