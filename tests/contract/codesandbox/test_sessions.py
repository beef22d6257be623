"""Sessions: Linux users of their own in a real agent's root; and files with which sandboxes are made."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from moonpool.dialects.codesandbox.pitcher.tokens import Tokens
from moonpool.guest.model import ProcessSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRITER = {"session_id": "my-session_1", "permission": "write"}


def users(root: Path) -> dict[str, list[str]]:
    lines = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    return {line[0]: line[1:] for line in lines}


def members(root: Path, group: str) -> list[str]:
    lines = [line.split(":") for line in (root / "etc/group").read_text().splitlines()]
    return next(line[3].split(",") for line in lines if line[0] == group)


async def test_a_session_is_a_user(api: Any, core: Any, machines: Any, sandbox: str) -> None:
    made = await api.call("vm/create_session", path={"id": sandbox}, json=WRITER)
    assert made["username"] == "csb-my-session_1"
    assert made["pitcher_url"] == f"ws://csb.test/pitcher/{sandbox}"
    assert made["user_workspace_path"] == "/project/workspace"
    services = core.services
    grant = Tokens(services.server.signing_key, services.clock).verify(made["pitcher_token"], sandbox)
    assert (grant.user, grant.home) == ("csb-my-session_1", "/home/csb-my-session_1")
    assert (grant.session_id, grant.permission) == ("my-session_1", "write")
    root = machines.root(sandbox)
    assert users(root)["csb-my-session_1"][4:] == ["/home/csb-my-session_1", "/bin/bash"]
    assert int(users(root)["csb-my-session_1"][1]) > 0
    assert (root / "home/csb-my-session_1").stat().st_uid == int(users(root)["csb-my-session_1"][1])


async def test_who_may_write_in_the_workspace(api: Any, machines: Any, sandbox: str) -> None:
    await api.call("vm/create_session", path={"id": sandbox}, json={"session_id": "w", "permission": "write"})
    await api.call("vm/create_session", path={"id": sandbox}, json={"session_id": "r", "permission": "read"})
    root = machines.root(sandbox)
    assert members(root, "workspace") == ["csb-w"]
    agent = machines.inside[sandbox].agent
    for user, code in (("csb-w", 0), ("csb-r", 1), ("root", 0)):
        done = await agent.run(ProcessSpec(shell=f"touch /project/workspace/{user}", user=user))
        assert done.exit_code == code, done.stderr
    created = (root / "project/workspace/csb-w").stat()
    assert created.st_gid == (root / "project/workspace").stat().st_gid


async def test_what_is_there_already_is_shared(api: Any, machines: Any) -> None:
    body = {"files": {"src/deep/a.txt": {"code": "a"}}}
    made = (await api.call("sandbox/create", 201, json=body))["id"]
    await api.call("vm/create_session", path={"id": made}, json=WRITER)
    agent = machines.inside[made].agent
    command = "echo b >> src/deep/a.txt && echo c > src/deep/c.txt && cat src/deep/a.txt"
    done = await agent.run(ProcessSpec(shell=command, user="csb-my-session_1", cwd="/project/workspace"))
    assert (done.exit_code, done.stdout) == (0, b"ab\n"), done.stderr


async def test_git_is_configured(api: Any, machines: Any, sandbox: str) -> None:
    git = {"git_user_name": 'A "B" \\ C', "git_user_email": "a@b.test", "git_access_token": "ghp_token1"}
    await api.call("vm/create_session", path={"id": sandbox}, json={**WRITER, **git})
    home = machines.root(sandbox) / "home/csb-my-session_1"
    credentials = home / ".private/.gitcredentials"
    assert credentials.read_text() == "https://x-access-token:ghp_token1@github.com\n"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert credentials.stat().st_uid == home.stat().st_uid
    agent = machines.inside[sandbox].agent
    command = (
        "git config user.name && git config user.email && git config credential.helper && git config safe.directory"
    )
    done = await agent.run(ProcessSpec(shell=command, user="csb-my-session_1"))
    name, email, helper, safe = done.stdout.decode().splitlines()
    assert (name, email, safe) == ('A "B" \\ C', "a@b.test", "/project/workspace")
    assert helper == "store --file ~/.private/.gitcredentials"


async def test_again_with_other_rights(api: Any, machines: Any, sandbox: str) -> None:
    for permission, expected in (("read", [""]), ("write", ["csb-s"]), ("write", ["csb-s"])):
        body = {"session_id": "s", "permission": permission}
        answer = await api.call("vm/create_session", path={"id": sandbox}, json=body)
        assert answer["permissions"]["write"] is (permission == "write")
        assert members(machines.root(sandbox), "workspace") == expected


async def test_a_vm_that_does_not_run_is_not_found(api: Any, sandbox: str) -> None:
    for operation in ("vm/hibernate", "vm/shutdown"):
        await api.call(operation, path={"id": sandbox})
        assert "not running" in await api.call("vm/create_session", 404, path={"id": sandbox}, json=WRITER)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"session_id": "a"},
        {"session_id": "", "permission": "write"},
        {"session_id": "a b", "permission": "write"},
        {"session_id": "a/../b", "permission": "write"},
        {"session_id": "a\n", "permission": "write"},
        {"session_id": "x" * 21, "permission": "write"},
        {"session_id": "a", "permission": "admin"},
        {**WRITER, "git_user_name": "a\nb"},
        {**WRITER, "git_access_token": "a@evil.test/"},
        {**WRITER, "git_access_token": "a b"},
    ],
)
async def test_bad_sessions(api: Any, sandbox: str, body: dict[str, Any]) -> None:
    await api.call("vm/create_session", 422, path={"id": sandbox}, json=body)


async def test_sandbox_with_files(api: Any, machines: Any) -> None:
    data = os.urandom(1000)
    files = {
        "/src/index.js": {"code": "console.log('ä')"},
        "image.png": {"is_binary": True, "binary_content": base64.b64encode(data).decode()},
        "./empty": {},
        "package.json": {"code": '{"name": "x", "dependencies": {"a": "1"}}'},
    }
    body = {"files": files, "npm_dependencies": {"b": "^2"}, "entry": "src/index.js", "settings": {"use_pint": True}}
    made = await api.call("sandbox/create", 201, json=body)
    workspace = machines.root(made["id"]) / "project/workspace"
    assert (workspace / "src/index.js").read_text() == "console.log('ä')"
    assert (workspace / "image.png").read_bytes() == data
    assert (workspace / "empty").read_bytes() == b""
    package = json.loads((workspace / "package.json").read_text())
    assert (package["dependencies"], package["main"]) == ({"a": "1", "b": "^2"}, "src/index.js")
    assert (await api.call("sandbox/get", path={"id": made["id"]}))["settings"] == {"use_pint": False}


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({}, "files"),
        ({"files": {"../a": {}}}, "../a"),
        ({"files": {"a/../../b": {}}}, "no path"),
        ({"files": {"": {}}}, "no path"),
        ({"files": {"a/": {}}}, "no path"),
        ({"files": {".": {}}}, "no path"),
        ({"files": {"a" * 5000: {}}}, "no path"),
        ({"files": {"a": {"is_binary": True, "binary_content": "%"}}}, "Base64"),
        ({"files": {"a": {}, "a/b": {}}}, "irectory"),
        ({"files": {"package.json": {"code": "[]"}}, "npm_dependencies": {"a": "1"}}, "npm_dependencies"),
        ({"files": {"package.json": {"code": "{"}}, "npm_dependencies": {"a": "1"}}, "npm_dependencies"),
        ({"files": {}, "external_resources": ["https://a.test"]}, "external_resources"),
        ({"files": {}, "runtime": "browser"}, "runtime: nothing here bundles"),
        ({"files": {}, "description": "x" * 5000}, "description"),
        ({"files": {}, "title": "x" * 256}, "title"),
        ({"files": {}, "privacy": 3}, "privacy"),
        ({"files": {"a\0b": {}}}, "NUL"),
    ],
)
async def test_bad_creations_leave_nothing(api: Any, body: dict[str, Any], part: str) -> None:
    assert part in await api.call("sandbox/create", 422, json=body)
    assert (await api.call("sandbox/list"))["sandboxes"] == []


async def test_files_for_a_browser_are_in_a_workspace(api: Any, machines: Any) -> None:
    files = {"index.html": {"code": "<p>"}, "package.json": {"code": '{"main": "own.js"}'}}
    body = {"files": files, "entry": "other.js"}
    made = await api.call("sandbox/create", 201, json=body)
    workspace = machines.root(made["id"]) / "project/workspace"
    assert (workspace / "index.html").read_text() == "<p>"
    assert json.loads((workspace / "package.json").read_text()) == {"main": "own.js"}
    assert (await api.start(made["id"]))["bootup_type"] == "FORK"


async def test_creation_from_a_template(api: Any) -> None:
    await api.call("sandbox/create", 404, json={"files": {}, "template": "nowhere"})
    made = await api.call("sandbox/create", 201, json={"files": {}, "template": "minimal"})
    assert made["title"] is None
