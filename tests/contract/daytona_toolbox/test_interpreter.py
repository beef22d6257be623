"""The code interpreter."""

import asyncio
import base64
import json
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXECUTE = "/process/interpreter/execute"
CONTEXTS = "/process/interpreter/context"
COMPLETED = {"type": "control", "text": "completed"}


async def run(socket_to: Any, code: str, **request: Any) -> tuple[list[dict[str, Any]], int]:
    """The events and the close code."""
    async with asyncio.timeout(30), socket_to(EXECUTE) as socket:
        await socket.send(json.dumps({"code": code, **request}))
        events = [json.loads(message) for message in await socket_to.rest(socket)]
    return events, socket.close_code


def text(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["text"] for event in events if event["type"] == kind)


async def test_state_persists_and_streams_are_apart(socket_to: Any) -> None:
    events, code = await run(socket_to, "import sys\nx = 20\nprint('out')\nprint('err', file=sys.stderr)")
    assert (text(events, "stdout"), text(events, "stderr"), events[-1], code) == ("out\n", "err\n", COMPLETED, 1000)
    events, _ = await run(socket_to, "x += 2\nx * 2")
    assert text(events, "stdout") == "44\n"


async def test_errors(socket_to: Any) -> None:
    events, code = await run(socket_to, "print('before')\ndef f():\n    raise ValueError('no')\nf()")
    assert text(events, "stdout") == "before\n"
    error = next(event for event in events if event["type"] == "error")
    assert (error["name"], error["value"]) == ("ValueError", "no")
    assert "line 4, in <module>\n    f()\n" in error["traceback"]
    assert "interpret" not in error["traceback"].replace("<interpreter>", "")
    assert code == 1000
    events, _ = await run(socket_to, "this is no python")
    assert next(event["name"] for event in events if event["type"] == "error") == "SyntaxError"
    events, _ = await run(socket_to, "import sys; sys.exit(3)")
    assert next(event["name"] for event in events if event["type"] == "error") == "SystemExit"
    assert text((await run(socket_to, "print('alive')"))[0], "stdout") == "alive\n"


async def test_children_and_large_output(socket_to: Any) -> None:
    events, _ = await run(
        socket_to, "import os\nprint('a')\n_ = os.system('echo b; echo c >&2')\nprint('d' * 1_000_000)"
    )
    assert text(events, "stdout") == "a\nb\n" + "d" * 1_000_000 + "\n"
    assert text(events, "stderr") == "c\n"


async def test_variables_of_the_environment_last_for_one_piece(socket_to: Any) -> None:
    code = "import os; print(os.environ.get('MINE'), os.environ.get('FROM_SANDBOX'))"
    assert text((await run(socket_to, code, envs={"MINE": "x"}))[0], "stdout") == "x yes\n"
    assert text((await run(socket_to, code))[0], "stdout") == "None yes\n"


async def test_timeout_interrupts_and_keeps_the_state(socket_to: Any) -> None:
    await run(socket_to, "kept = 1")
    events, code = await run(socket_to, "import time\nprint('begun')\ntime.sleep(60)", timeout=1)
    assert (text(events, "stdout"), events[-1]) == ("begun\n", {"type": "control", "text": "interrupted"})
    assert code == 4008
    assert text((await run(socket_to, "print(kept)"))[0], "stdout") == "1\n"


async def test_code_that_hears_no_interrupt_gives_way_to_a_new_interpreter(socket_to: Any) -> None:
    stubborn = "while True:\n  try:\n    while True: pass\n  except KeyboardInterrupt: pass"
    _, code = await run(socket_to, stubborn, timeout=1)
    assert code == 4008
    assert text((await run(socket_to, "print('new')"))[0], "stdout") == "new\n"


async def test_a_client_that_goes_interrupts(socket_to: Any, home: Any) -> None:
    async with socket_to(EXECUTE) as socket:
        await socket.send(json.dumps({"code": "import time\nprint('begun', flush=True)\ntime.sleep(600)"}))
        assert json.loads(await socket.recv())["text"].startswith("begun")
    assert text((await run(socket_to, "print('next')"))[0], "stdout") == "next\n"


RICH = """
class Shown:
    def __repr__(self): return "<shown>"
    def _repr_html_(self): return "<b>shown</b>"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_svg_(self): raise RuntimeError
    def _repr_json_(self): return {"a": 1}
"""


async def test_what_shows_itself_as_more_than_text(socket_to: Any) -> None:
    data = {
        "text/plain": "<shown>",
        "text/html": "<b>shown</b>",
        "image/png": base64.b64encode(b"\x89PNG").decode(),
        "application/json": {"a": 1},
    }
    events, _ = await run(socket_to, RICH + "Shown()")
    assert text(events, "stdout") == "<shown>\n"
    assert {"type": "display", "data": data, "main": True} in events
    events, _ = await run(socket_to, "display(Shown(), 5)")
    assert [event for event in events if event["type"] == "display"] == [
        {"type": "display", "data": data, "main": False},
        {"type": "display", "data": {"text/plain": "5"}, "main": False},
    ]
    assert text(events, "stdout") == ""
    events, _ = await run(socket_to, "Shown._repr_html_ = lambda self: 'x' * (17 << 20)\nShown()")
    assert next(event["name"] for event in events if event["type"] == "error") == "ValueError"


async def test_an_interpreter_that_dies(socket_to: Any) -> None:
    events, code = await run(socket_to, "import os; os._exit(3)")
    assert (events[-1]["type"], code) == ("error", 1000)
    assert events[-1]["value"] == "The interpreter ended with exit code 3; what it knew is gone"
    events, code = await run(socket_to, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (events[-1]["name"], code) == ("InterpreterExited", 1000)
    assert "signal 9" in events[-1]["value"]
    assert text((await run(socket_to, "print('new')"))[0], "stdout") == "new\n"


FORK = """
import os, sys
pid = os.fork()
if pid:
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
else:
    print("in the child")
    {}
"""


async def test_code_that_forks(socket_to: Any) -> None:
    """A child that comes back to the interpreter is none."""
    for ending, status, complaint in (("pass", 0, ""), ("sys.exit(3)", 3, ""), ("1 / 0", 1, "ZeroDivisionError")):
        events, _ = await run(socket_to, FORK.format(ending))
        assert text(events, "stdout") == f"in the child\nended with {status}\n"
        assert complaint in text(events, "stderr")
        assert [event for event in events if event["type"] not in ("stdout", "stderr")] == [COMPLETED]
    code = "import os\nfor _ in range(20):\n    if not os.fork(): break"
    assert (await run(socket_to, code))[0][-1] == COMPLETED
    assert text((await run(socket_to, "print('alive')"))[0], "stdout") == "alive\n"


async def test_an_error_that_cannot_be_shown(socket_to: Any, client: httpx.AsyncClient) -> None:
    code = "class Bad(Exception):\n    def __str__(self): raise self\nraise Bad"
    events, _ = await run(socket_to, code)
    assert next(event["value"] for event in events if event["type"] == "error") == "<unprintable>"
    context = (await client.post(CONTEXTS, json={"language": "javascript"})).json()["id"]
    code = "const e = new Error('x'); Object.defineProperty(e, 'stack', {get() { throw e; }}); throw e"
    events, _ = await run(socket_to, code, contextId=context)
    assert [event["type"] for event in events] == ["error", "control"]
    assert text((await run(socket_to, "console.log('alive')", contextId=context))[0], "stdout") == "alive\n"
    events, _ = await run(socket_to, "require('fs').closeSync(1)", contextId=context)
    assert events[-1]["name"] == "InterpreterExited"


async def test_contexts(socket_to: Any, client: httpx.AsyncClient) -> None:
    await run(socket_to, "x = 'default'")
    made = await client.post(CONTEXTS, json={"cwd": "/usr"})
    context = sdk.InterpreterContext.from_dict(made.json())
    assert context is not None
    assert (made.status_code, context.cwd, context.language, context.active) == (200, "/usr", "python", True)
    events, _ = await run(socket_to, "import os\nprint(os.getcwd(), 'x' in globals())", contextId=context.id)
    assert text(events, "stdout") == "/usr False\n"
    listed = sdk.ListContextsResponse.from_dict((await client.get(CONTEXTS)).json())
    assert listed is not None
    assert [item.id for item in listed.contexts or []] == [context.id]
    assert (await client.delete(f"{CONTEXTS}/{context.id}")).status_code == 200
    assert (await client.get(CONTEXTS)).json() == {"contexts": []}
    assert (await client.delete(f"{CONTEXTS}/{context.id}")).status_code == 404
    assert (await client.delete(f"{CONTEXTS}/default")).status_code == 400
    assert (await run(socket_to, "1", contextId=context.id))[1] == 1008


async def test_one_piece_at_a_time(socket_to: Any) -> None:
    code = "import time\nprint({0}, end='')\ntime.sleep(0.2)\nprint({0})"
    answers = await asyncio.gather(*(run(socket_to, code.format(number)) for number in range(3)))
    assert sorted(text(events, "stdout") for events, _ in answers) == ["00\n", "11\n", "22\n"]


@pytest.mark.parametrize(
    "message", ["", "{", "{}", '{"code":1}', '{"code":"1","timeout":-1}', '{"code":"1","envs":[]}']
)
async def test_messages_that_are_none(socket_to: Any, message: str) -> None:
    async with asyncio.timeout(10), socket_to(EXECUTE) as socket:
        await socket.send(message)
        assert await socket_to.rest(socket) == []
        assert socket.close_code == 1008


async def test_code_that_speaks_for_its_interpreter(socket_to: Any) -> None:
    """It may write what it likes to where events go; the server keeps no more of it than one event may have."""
    own = "import os, sys\nevents = sys.displayhook.__self__._events._descriptor\n"
    junk = own + "os.write(events, b'{}\\n[1]\\nnothing\\n{\"id\": 1}\\n')\n"
    assert (await run(socket_to, junk + "print('on')"))[0] == [{"type": "stdout", "text": "on\n"}, COMPLETED]
    events, code = await run(socket_to, own + "while True: os.write(events, b'x' * (1 << 20))")
    assert (events[-1]["name"], code) == ("InterpreterExited", 1000)
    assert "32 MiB" in events[-1]["value"]
    assert text((await run(socket_to, "print('new')"))[0], "stdout") == "new\n"


async def test_variables_of_a_context(socket_to: Any, client: httpx.AsyncClient) -> None:
    made = (await client.post(CONTEXTS, json={"envs": {"MINE": "x"}})).json()
    show = "import os; print(os.environ.get('MINE'))"
    assert text((await run(socket_to, show, contextId=made["id"]))[0], "stdout") == "x\n"
    await run(socket_to, "import os; os._exit(1)", contextId=made["id"])
    assert text((await run(socket_to, show, contextId=made["id"]))[0], "stdout") == "x\n"
    assert text((await run(socket_to, show))[0], "stdout") == "None\n"
    assert (await client.delete(f"{CONTEXTS}/{made['id']}")).status_code == 200
    assert (await client.post(CONTEXTS, json={"envs": {"A=B": "x"}})).status_code == 400


async def test_languages_that_are_none(client: httpx.AsyncClient) -> None:
    assert (await client.post(CONTEXTS, json={"language": "cobol"})).status_code == 400
    assert (await client.post(CONTEXTS, json={"cwd": "/no/such"})).status_code == 400
