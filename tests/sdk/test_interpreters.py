"""Contexts of Python and JavaScript on a real server, through Daytona's SDK where it knows them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from daytona import Daytona, DaytonaConfig, DaytonaTimeoutError, Sandbox
from daytona.common.errors import DaytonaConnectionError
from daytona_toolbox_api_client import InterpreterContext
from websockets.sync.client import connect

from tests.servers import Server


@pytest.fixture(scope="module")
def daytona(server: Server) -> Daytona:
    return Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))


@pytest.fixture(scope="module")
def sandbox(daytona: Daytona) -> Iterator[Sandbox]:
    made = daytona.create()
    yield made
    made.delete()


def create_context(server: Server, sandbox: Sandbox, **body: Any) -> InterpreterContext:
    """The SDK creates Python's alone."""
    answer = httpx.post(
        f"{server.url}/toolbox/{sandbox.id}/process/interpreter/context",
        json=body,
        headers={"Authorization": f"Bearer {server.api_key}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    context = InterpreterContext.from_dict(answer.json())
    assert context is not None
    return context


def events(server: Server, sandbox: Sandbox, code: str, context: InterpreterContext) -> list[dict[str, Any]]:
    address = f"{server.url.replace('http', 'ws', 1)}/toolbox/{sandbox.id}/process/interpreter/execute"
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with connect(address, additional_headers=headers, proxy=None, max_size=None) as socket:
        socket.send(json.dumps({"code": code, "contextId": context.id}))
        return [json.loads(message) for message in socket]


@pytest.fixture(scope="module")
def javascript(server: Server, sandbox: Sandbox) -> InterpreterContext:
    return create_context(server, sandbox, language="javascript", cwd="/tmp", envs={"MINE": "yes"})


def test_javascript_keeps_its_state(sandbox: Sandbox, javascript: InterpreterContext) -> None:
    run = sandbox.code_interpreter.run_code
    assert (javascript.language, javascript.cwd) == ("javascript", "/tmp")
    first = run("const x = 20; console.log('out', process.cwd()); console.error('err')", context=javascript)
    assert (first.stdout, first.stderr, first.error) == ("out /tmp\n", "err\n", None)
    assert run("const y = await Promise.resolve(x + 1); y * 2", context=javascript).stdout == "42\n"
    assert run("[process.env.MINE, process.env.ONCE]", envs={"ONCE": "1"}, context=javascript).stdout == (
        "[ 'yes', '1' ]\n"
    )
    assert run("process.env.ONCE", context=javascript).stdout == ""
    child = "require('child_process').execSync('echo child; echo wrong >&2', {stdio: 'inherit'}); undefined"
    done = run(child, context=javascript)
    assert (done.stdout, done.stderr) == ("child\n", "wrong\n")
    assert len(run("process.stdout.write('d'.repeat(1_000_000)); undefined", context=javascript).stdout) == 1_000_000


def test_javascript_errors(sandbox: Sandbox, javascript: InterpreterContext) -> None:
    run = sandbox.code_interpreter.run_code
    error = run("function deep() {\n  throw new RangeError('no')\n}\ndeep()", context=javascript).error
    assert error is not None
    assert (error.name, error.value) == ("RangeError", "no")
    assert "at deep (interpreter:2:9)" in error.traceback
    assert "node:" not in error.traceback
    for code, name in (("this is none", "SyntaxError"), ("({a: 1", "SyntaxError"), ("throw 5", "Error")):
        error = run(code, context=javascript).error
        assert error is not None
        assert error.name == name
    rejected = run("await Promise.reject(new TypeError('later'))", context=javascript).error
    assert rejected is not None
    assert rejected.name == "TypeError"


@pytest.mark.parametrize("endless", ["while (true);", "await new Promise(() => setInterval(() => 0, 1000))"])
def test_javascript_is_interrupted(sandbox: Sandbox, javascript: InterpreterContext, endless: str) -> None:
    run = sandbox.code_interpreter.run_code
    run("globalThis.kept = 1", context=javascript)
    with pytest.raises(DaytonaTimeoutError):
        run(endless, timeout=1, context=javascript)
    assert run("kept", context=javascript).stdout == "1\n"


def test_javascript_shows_more_than_text(server: Server, sandbox: Sandbox, javascript: InterpreterContext) -> None:
    code = "display({'text/html': '<b>x</b>', 'image/png': Buffer.from([1, 2, 3])})"
    shown = {"type": "display", "data": {"text/html": "<b>x</b>", "image/png": "AQID"}, "main": False}
    assert shown in events(server, sandbox, code, javascript)
    result = "({ [Symbol.for('Jupyter.display')]: () => ({'application/json': {a: 1}}) })"
    displays = [event for event in events(server, sandbox, result, javascript) if event["type"] == "display"]
    assert [(event["data"]["application/json"], event["main"]) for event in displays] == [({"a": 1}, True)]


def test_javascript_that_ends_its_interpreter(sandbox: Sandbox, javascript: InterpreterContext) -> None:
    error = sandbox.code_interpreter.run_code("process.exit(3)", context=javascript).error
    assert error is not None
    assert (error.name, "exit code 3" in error.value) == ("InterpreterExited", True)
    assert sandbox.code_interpreter.run_code("[typeof kept, process.env.MINE]", context=javascript).stdout == (
        "[ 'undefined', 'yes' ]\n"
    )


def test_contexts_belong_to_their_sandbox(daytona: Daytona, sandbox: Sandbox, javascript: InterpreterContext) -> None:
    other = daytona.create()
    try:
        with pytest.raises(DaytonaConnectionError, match="not found"):
            other.code_interpreter.run_code("1", context=javascript)
        assert other.code_interpreter.list_contexts() == []
        assert [context.id for context in sandbox.code_interpreter.list_contexts()] == [javascript.id]
    finally:
        other.delete()
