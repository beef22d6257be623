"""What administrators of the server do with capsules and templates of every team, and builds of templates for all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from moonpool.access.model import ALL_SCOPES, Principal
from moonpool.sandboxes.model import NewSandbox
from tests.contract.documents import WRENN
from tests.contract.record import listening

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEAM = "someone@example.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def member(core: Any) -> Principal:
    """Somebody of a team that is not the administrator's."""
    admin = await core.access.local_principal()
    user = await core.community.administration.create_user(admin, TEAM, "Someone", "a long enough password")
    team = next(team for team, _ in await core.community.administration.teams(admin) if team.id != admin.team_id)
    return Principal(team.id, user.id, None, ALL_SCOPES)


@pytest_asyncio.fixture(loop_scope="module")
async def theirs(core: Any, member: Principal) -> AsyncIterator[str]:
    made = await core.sandboxes.create(member, NewSandbox(snapshot="minimal", usual_user="wrenn-user"))
    yield f"cl-{made.id}"
    await core.sandboxes.destroy(member, made.id)


async def test_capsules_of_every_team(api: Any, theirs: str, member: Principal) -> None:
    path = {"id": theirs}
    await api.call("getCapsule", 404, path)
    assert (await api.call("adminGetCapsule", 200, path))["status"] == "running"
    own = await api.call("adminCreateCapsule", 201, json={"team_id": f"team-{member.team_id}"})
    listed = [capsule["id"] for capsule in await api.call("adminListCapsules", 200)]
    assert {theirs, own["id"]} <= set(listed)
    await api.call("adminDestroyCapsule", 204, {"id": own["id"]})
    assert own["id"] not in [capsule["id"] for capsule in await api.call("adminListCapsules", 200)]
    await api.call("adminCreateCapsule", 404, json={"team_id": "team-none"})
    await api.call("adminGetCapsule", 404, {"id": "cl-nothing"})


async def test_programs_in_them(api: Any, theirs: str) -> None:
    path = {"id": theirs}
    done = await api.call("adminExecCommand", 200, path, json={"cmd": "echo", "args": ["hello"]})
    assert (done["stdout"], done["exit_code"]) == ("hello\n", 0)
    started = await api.call(
        "adminExecCommand", 202, path, json={"cmd": "sleep", "args": ["1000"], "background": True, "tag": "long"}
    )
    assert "long" in [each["tag"] for each in (await api.call("adminListProcesses", 200, path))["processes"]]
    socket = await api.connect("adminConnectProcess", {**path, "selector": "long"})
    assert f'"pid":{started["pid"]}' in await socket.recv()
    await api.call("adminKillProcess", 204, {**path, "selector": "long"})
    await socket.wait_closed()
    stream = await api.connect("adminExecStream", path)
    await stream.send('{"type":"start","cmd":"echo","args":["streamed"]}')
    assert any("streamed" in message for message in [message async for message in stream])
    terminal = await api.connect("adminPtySession", path)
    await terminal.send('{"type":"start","cmd":"/bin/sh","args":["-c","exit 7"]}')
    assert any('"exit_code":7' in message for message in [message async for message in terminal])
    await api.call("adminGetCapsuleMetrics", 200, path)


async def test_their_files(api: Any, theirs: str) -> None:
    path = {"id": theirs}
    parts = {"path": (None, "notes.txt"), "file": ("notes.txt", b"hello")}
    await api.call("adminUploadFile", 204, path, files=parts)
    assert await api.call("adminDownloadFile", 200, path, json={"path": "notes.txt"}) == b"hello"
    await api.call("adminMakeDir", 200, path, json={"path": "folder"})
    entries = (await api.call("adminListDir", 200, path, json={"path": "."}))["entries"]
    assert {"notes.txt", "folder"} <= {entry["name"] for entry in entries}
    await api.call("adminRemovePath", 204, path, json={"path": "notes.txt"})
    await api.call("adminDownloadFile", 404, path, json={"path": "notes.txt"})


async def test_snapshots_stay_with_their_team(api: Any, theirs: str, member: Principal) -> None:
    await api.call("adminCreateSnapshotFromCapsule", 201, {"id": theirs}, json={"name": "kept"})
    kept = next(each for each in await api.call("adminListTemplates", 200) if each["name"] == "kept")
    assert kept["team_id"] == f"team-{member.team_id}"
    assert "kept" not in [each["name"] for each in await api.call("listSnapshots", 200)]
    await api.call("adminDeleteTemplate", 204, {"name": "kept"})
    await api.call("adminDeleteTemplate", 404, {"name": "kept"})
    await api.call("adminDeleteTemplate", 403, {"name": "minimal"})


# Programs of a build run in the test's own file system: none of these changes it.
RECIPE = ["ENV A=b c", "RUN --timeout=1m echo $A", "WORKDIR /srv", "USER wrenn-user", "RUN true"]


async def ended(api: Any, build: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = await api.call("adminGetBuild", 200, {"id": build})
            if found["status"] not in ("pending", "running"):
                return found
            await asyncio.sleep(0.05)


async def test_builds_of_templates_for_all(api: Any, core: Any, member: Principal) -> None:
    wanted = {"name": "tools", "recipe": RECIPE, "vcpus": 2, "memory_mb": 1024}
    build = await api.call("adminCreateBuild", 202, json=wanted)
    assert build["id"].startswith("bld-")
    assert (build["name"], build["base_template"], build["total_steps"]) == ("tools", "minimal", 5)
    done = await ended(api, build["id"])
    assert (done["status"], done["current_step"]) == ("success", 5), done
    assert [(entry["step"], entry["cmd"], entry["ok"]) for entry in done["logs"]] == [
        (number, line, True) for number, line in enumerate(RECIPE, 1)
    ]
    made = next(each for each in await api.call("listSnapshots", 200) if each["name"] == "tools")
    assert (made["type"], made["vcpus"], made["memory_mb"]) == ("base", 2, 1024)
    snapshot = await core.snapshots.get(member, "tools")
    assert (snapshot.team_id, snapshot.config.user, snapshot.config.workdir) == (None, "wrenn-user", "/srv")
    assert snapshot.config.env["A"] == "b c"
    assert (await api.call("adminCreateBuild", 409, json=wanted))["code"] == "conflict"
    assert build["id"] in [each["id"] for each in await api.call("adminListBuilds", 200)]
    assert (await api.call("adminCancelBuild", 409, {"id": build["id"]}))["code"] == "invalid_state"
    await api.call("adminDeleteTemplate", 204, {"name": "tools"})


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ([], "1 to 200 lines"),
        (["RUN true", "FETCH it"], "recipe line 2: unknown instruction 'FETCH'"),
        (["RUN"], "recipe line 1: RUN needs"),
        (["ENV nothing"], "recipe line 1: ENV needs NAME=VALUE"),
        (["USER ../root"], "recipe line 1: Not a user's name"),
        (["RUN --timeout=soon true"], "recipe line 1: Not a duration"),
        (["COPY a b"], "recipe line 1: COPY has no files"),
    ],
)
async def test_recipes_that_are_none(api: Any, recipe: list[str], said: str) -> None:
    assert said in (await api.call("adminCreateBuild", 400, json={"name": "x", "recipe": recipe}))["message"]


async def test_builds_that_are_none(api: Any) -> None:
    await api.call("adminGetBuild", 404, {"id": "bld-none"})
    await api.call("adminCancelBuild", 404, {"id": "bld-none"})
    await api.call("adminCreateBuild", 404, json={"name": "x", "recipe": ["RUN true"], "base_template": "none"})
    await api.call("adminCreateBuild", 400, json={"name": "a/b", "recipe": ["RUN true"]})
    await api.call(
        "adminCreateBuild", 400, json={"name": "x", "recipe": ["RUN true"], "healthcheck": "--interval=never true"}
    )


async def test_a_build_is_cancelled(api: Any, machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def waits(*_: object) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(machines.layers, "identify", waits)
    build = await api.call("adminCreateBuild", 202, json={"name": "stopped", "recipe": ["RUN true"]})
    await begun.wait()
    await api.call("adminCancelBuild", 204, {"id": build["id"]})
    assert (await ended(api, build["id"]))["status"] == "cancelled"
    await api.call("adminDeleteTemplate", 404, {"name": "nothing"})


@pytest.mark.parametrize("operation", ["adminListCapsules", "adminListTemplates", "adminListBuilds"])
async def test_nobody_else_is_let_in(api: Any, core: Any, url: str, member: Principal, operation: str) -> None:
    key = await core.access.create_key(member, f"key of {operation}")
    headers = {"X-API-Key": key.secret}
    async with httpx.AsyncClient(base_url=url, headers=headers, event_hooks=listening(WRENN)) as client:
        other = type(api)(url, client)
        assert (await other.call(operation, 403))["code"] == "forbidden"
    async with httpx.AsyncClient(base_url=url, event_hooks=listening(WRENN)) as client:
        await type(api)(url, client).call(operation, 401)
