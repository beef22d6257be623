"""Commands and processes: what comes back, and what ends them."""

import base64
import json
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"json": {"cmd": "/bin/sh", "args": ["-c", script], **more}}


async def test_output_that_is_not_text_is_base64(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    ran = await api.call("execCommand", 200, here, **shell(r"printf '\377out'; printf err >&2"))
    assert ran["encoding"] == "base64"
    assert base64.b64decode(ran["stdout"]) == b"\xffout"
    assert base64.b64decode(ran["stderr"]) == b"err"
    ran = await api.call("execCommand", 200, here, **shell("printf 'grüße 🌙'"))
    assert (ran["encoding"], ran["stdout"]) == ("utf-8", "grüße 🌙")


async def test_codes_environment_folder_and_time(api: Any, capsule: str, home: Any) -> None:
    here = {"id": capsule}
    ran = await api.call("execCommand", 200, here, **shell("echo $A; pwd; exit 7", envs={"A": "b"}, cwd="/usr"))
    assert (ran["stdout"], ran["exit_code"]) == ("b\n/usr\n", 7)
    assert isinstance(ran["duration_ms"], int)
    assert (await api.call("execCommand", 200, here, **shell("pwd; whoami")))["stdout"] == f"{home}\nwrenn-user\n"
    assert (await api.call("execCommand", 200, here, **shell("kill -9 $$")))["exit_code"] == 137


async def test_a_command_beyond_its_timeout_is_an_error(api: Any, capsule: str) -> None:
    error = await api.call("execCommand", 504, {"id": capsule}, **shell("trap '' TERM; sleep 60", timeout_sec=1))
    assert error["code"] == "agent_error"
    assert "1 second" in error["message"]


async def test_more_output_than_an_answer_holds(api: Any, capsule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.wrenn.commands.OUTPUT_LIMIT", 1024 * 1024)
    error = await api.call("execCommand", 413, {"id": capsule}, **shell("head -c 3000000 /dev/zero; exit 3"))
    assert error["code"] == "too_large"
    assert "exit code 3" in error["message"]


async def test_commands_longer_than_an_argument_may_be(api: Any, capsule: str) -> None:
    for length in (130_000, 131_072, 200_000, 10_000_000):
        ran = await api.call("execCommand", 200, {"id": capsule}, **shell("echo " + "y" * length))
        assert ran["stdout"] == "y" * length + "\n", length


async def test_tags(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    first = await api.call("execCommand", 202, here, **shell("sleep 100", background=True, tag="mine"))
    assert first["tag"] == "mine"
    assert first["cmd"] == "/bin/sh"
    again = await api.call("execCommand", 409, here, **shell("sleep 100", background=True, tag="mine"))
    assert again["code"] == "conflict"
    made = await api.call("execCommand", 202, here, **shell("sleep 100", background=True))
    assert len(made["tag"]) == len("proc-12345678")
    for selector in ("mine", str(made["pid"])):
        await api.call("killProcess", 204, {**here, "selector": selector})
        async with await api.connect("connectProcess", {**here, "selector": selector}) as socket:
            assert json.loads([message async for message in socket][-1]) == {"type": "exit", "exit_code": 137}
        await api.call("killProcess", 404, {**here, "selector": selector})
    assert (await api.call("listProcesses", 200, here))["processes"] == []
