"""One-shot commands and code."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests"
CODE_RUN = "/process/code-run"


async def execute(client: httpx.AsyncClient, command: str, status: int = 200, **options: Any) -> dict[str, Any]:
    answer = await client.post("/process/execute", json={"command": command, **options})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert sdk.ExecuteResponse.from_dict(answer.json()) is not None
    else:
        failure = sdk.ErrorResponse.from_dict(answer.json())
        assert failure is not None
        assert (failure.status_code, failure.source, failure.method) == (status, "DAYTONA_DAEMON", "POST")
    return answer.json()


async def test_both_streams_in_order_and_the_exit_code(client: httpx.AsyncClient) -> None:
    answer = await execute(client, "echo one; echo two >&2; echo three; exit 7")
    assert answer == {"exitCode": 7, "result": "one\ntwo\nthree\n"}


async def test_runs_as_the_sandbox_user_at_home_with_its_environment(client: httpx.AsyncClient) -> None:
    answer = await execute(client, 'id -un; pwd; echo "$HOME $FROM_SANDBOX $MINE"', envs={"MINE": "b c"})
    assert answer["result"] == "daytona\n/mnt\n/mnt yes b c\n"


VALUES = ["two  words", 'it\'s "quoted"', "$HOME `id` \\n", "line\nline", "", "a=b;c"]


@pytest.mark.parametrize("value", VALUES)
async def test_environment_as_old_sdks_write_it(client: httpx.AsyncClient, value: str) -> None:
    command = encoded('printf "%s|" "$OTHER" "$VALUE"')
    exports = f"export OTHER=$(echo '{encoded('x')}' | base64 -d);export VALUE=$(echo '{encoded(value)}' | base64 -d);"
    answer = await execute(client, f"sh -c \"{exports} echo '{command}' | base64 -d | sh\"")
    assert answer == {"exitCode": 0, "result": f"x|{value}|"}


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


async def test_folder(client: httpx.AsyncClient, home: Path) -> None:
    await execute(client, "mkdir -p sub/deeper")
    assert (await execute(client, "pwd", cwd="sub/deeper"))["result"] == "/mnt/sub/deeper\n"
    assert (await execute(client, "pwd", cwd="/usr"))["result"] == "/usr\n"


async def test_a_missing_folder_is_an_exit_code(client: httpx.AsyncClient) -> None:
    answer = await execute(client, "pwd", cwd="/no/such/folder")
    assert answer["exitCode"] == -1


async def test_timeout_kills_the_group(client: httpx.AsyncClient, home: Path) -> None:
    answer = await execute(client, "trap '' TERM; (sleep 3; touch late) & sleep 60", 408, timeout=1)
    assert answer["code"] == "PROCESS_EXECUTION_TIMEOUT"
    assert (await execute(client, "pgrep -u daytona sleep"))["exitCode"] == 1
    assert not (home / "late").exists()


@pytest.mark.parametrize("timeout", [-1, 1e12, "5", float("inf")])
async def test_timeouts_that_are_none(client: httpx.AsyncClient, timeout: Any) -> None:
    body = '{"command":"true","timeout":%s}' % (f'"{timeout}"' if isinstance(timeout, str) else timeout)
    answer = await client.post("/process/execute", content=body)
    assert answer.status_code == 400
    assert answer.json()["source"] == "DAYTONA_DAEMON"


@pytest.mark.parametrize("command", ["", "  \n", "echo \0"])
async def test_commands_that_are_none(client: httpx.AsyncClient, command: str) -> None:
    await execute(client, command, 400)


@pytest.mark.parametrize("body", ["", "{}", "[]", "{", '"x"', '{"command":5}', '{"command":"x","envs":{"A":1}}'])
async def test_bodies_that_are_none(client: httpx.AsyncClient, body: str) -> None:
    answer = await client.post("/process/execute", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST_BODY"


@pytest.mark.parametrize("envs", [{"A=B": "c"}, {"": "c"}])
async def test_variables_that_are_none(client: httpx.AsyncClient, envs: dict[str, str]) -> None:
    await execute(client, "true", 400, envs=envs)


async def test_a_command_of_ten_megabytes(client: httpx.AsyncClient) -> None:
    text = "x" * 10_000_000
    assert (await execute(client, f"cat <<'END' | wc -c\n{text}\nEND"))["result"].strip() == "10000001"


async def test_a_body_without_end_is_cut_off(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1_000_000

    with pytest.raises(httpx.TransportError):
        await client.post("/process/execute", content=endless())


async def test_a_body_that_says_it_is_too_large(url: str, sandbox: str) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    head = f"POST /toolbox/{sandbox}/process/execute HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
    writer.write(f"{head}Content-Length: 99999999\r\n\r\n".encode())
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"DAYTONA_DAEMON" in answer
    writer.close()
    await writer.wait_closed()


async def test_bytes_that_are_no_text(client: httpx.AsyncClient) -> None:
    assert (await execute(client, r"printf 'a\377b'"))["result"] == "a\N{REPLACEMENT CHARACTER}b"


async def test_a_background_child_does_not_hold_the_answer(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        assert (await execute(client, "sleep 60 & echo started"))["result"] == "started\n"


async def test_a_client_that_goes_takes_its_command_along(client: httpx.AsyncClient, home: Path) -> None:
    request = asyncio.create_task(execute(client, "touch begun; sleep 61"))
    while not (home / "begun").exists():
        await asyncio.sleep(0.01)  # Inside another process: its only sign is the file.
    request.cancel()
    async with asyncio.timeout(10):
        while (await execute(client, "pgrep -f 'sleep 61' -u daytona -x"))["exitCode"] == 0:
            pass


async def test_python(client: httpx.AsyncClient) -> None:
    code = "import sys, os\nprint(sys.argv[1:], os.environ['MINE'], __name__)\nsys.exit(4)"
    body = {"code": code, "language": "python", "argv": ["a", "b c"], "envs": {"MINE": "x"}}
    answer = (await client.post(CODE_RUN, json=body)).json()
    assert answer == {"exitCode": 4, "result": "['a', 'b c'] x __main__\n", "artifacts": {"charts": []}}
    assert sdk.CodeRunResponse.from_dict(answer) is not None


async def test_a_python_traceback_shows_the_code_alone(client: httpx.AsyncClient) -> None:
    answer = (await client.post(CODE_RUN, json={"code": "def f():\n    1 / 0\nf()", "language": "python"})).json()
    assert answer["exitCode"] == 1
    assert answer["result"].splitlines() == [
        "Traceback (most recent call last):",
        '  File "<string>", line 3, in <module>',
        '  File "<string>", line 2, in f',
        "ZeroDivisionError: division by zero",
    ]


async def test_python_input_is_at_its_end(client: httpx.AsyncClient) -> None:
    answer = (await client.post(CODE_RUN, json={"code": "import sys; print(repr(sys.stdin.read()))"})).json()
    assert answer["result"] == "''\n"


async def test_a_large_program(client: httpx.AsyncClient) -> None:
    code = "#" + "x" * 1_000_000 + "\nprint('end')"
    assert (await client.post(CODE_RUN, json={"code": code})).json()["result"] == "end\n"


async def test_javascript(client: httpx.AsyncClient) -> None:
    code = "console.log(process.argv.slice(2), require('path').sep); process.exit(3)"
    answer = (await client.post(CODE_RUN, json={"code": code, "language": "javascript", "argv": ["a"]})).json()
    assert (answer["exitCode"], answer["result"]) == (3, "[ 'a' ] /\n")


async def test_code_timeout(client: httpx.AsyncClient) -> None:
    answer = await client.post(CODE_RUN, json={"code": "while True: pass", "timeout": 1})
    assert answer.status_code == 408
    assert answer.json()["code"] == "PROCESS_EXECUTION_TIMEOUT"


@pytest.mark.parametrize("body", [{"code": ""}, {"code": "x", "language": "cobol"}, {"language": "python"}])
async def test_code_that_is_none(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post(CODE_RUN, json=body)).status_code == 400


@pytest.mark.parametrize("body", [{}, {"command": ""}])
async def test_a_command_that_is_missing_is_told_in_the_vendors_words(
    client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    answer = await client.post("/process/execute", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST_BODY")
    assert "invalid request body" in answer.json()["message"]


async def test_an_unknown_language_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/process/code-run", json={"code": "x", "language": "cobol"})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"] == "bad request: unsupported language: cobol"
