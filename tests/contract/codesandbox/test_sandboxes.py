"""Sandboxes: what is kept of them, how they are listed and copied."""

import asyncio
from typing import Any

import pytest

from moonpool.hosts.model import Resources
from moonpool.sandboxes.model import NewSandbox, SandboxState, Timers

pytestmark = pytest.mark.asyncio(loop_scope="module")

SDK_FORK = {"privacy": 2, "title": "x", "tags": ["sdk"], "path": "/SDK", "private_preview": False}


async def test_fork_of_the_default_template_as_the_sdk_asks(api: Any, core: Any) -> None:
    made = await api.call("sandbox/fork", 201, path={"id": "pcz35m"}, json=SDK_FORK)
    assert set(made) == {"id", "alias", "title"}
    kept = core.sandboxes.peek(made["id"])
    assert kept.state is SandboxState.RUNNING
    assert kept.resources == Resources(4, 8192, 20480)
    assert kept.timers == Timers(idle_timeout=300)
    assert (kept.user, kept.public, dict(kept.labels)) == ("root", True, {"sdk": ""})
    shown = await api.call("sandbox/get", path={"id": made["id"]})
    expected = {"title": "x", "description": None, "privacy": 2, "is_frozen": False, "tags": ["sdk"]}
    assert expected.items() <= shown.items()
    assert shown["settings"] == {"use_pint": False}
    assert shown["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("body", "privacy", "public"),
    [
        ({}, 0, True),
        ({"privacy": 1}, 1, True),
        ({"privacy": 2}, 2, False),
        ({"privacy": 2, "private_preview": True}, 2, False),
        ({"privacy": 2, "private_preview": False}, 2, True),
    ],
)
async def test_privacy(api: Any, core: Any, body: dict[str, Any], privacy: int, public: bool) -> None:
    for source in ("pcz35m", await api.fork(privacy=2, private_preview=True)):
        made = await api.fork(source, **body)
        assert (await api.call("sandbox/get", path={"id": made}))["privacy"] == privacy
        assert core.sandboxes.peek(made).public is public


async def test_titles_need_not_differ(api: Any) -> None:
    made = {await api.fork(title="same"), await api.fork(title="same"), await api.fork()}
    titles = [(await api.call("sandbox/get", path={"id": sandbox}))["title"] for sandbox in made]
    assert sorted(titles, key=str) == [None, "same", "same"]


async def test_tags_are_the_first_ten(api: Any) -> None:
    made = await api.fork(tags=["z", *[f"t{number}" for number in range(20)], "z"])
    shown = (await api.call("sandbox/get", path={"id": made}))["tags"]
    assert shown == ["z", *[f"t{number}" for number in range(9)]]


async def test_list_by_tags(api: Any) -> None:
    both = await api.fork(tags=["a", "b"])
    await api.fork(tags=["b"])
    await api.fork()
    for query, expected in (("a", 1), ("b", 2), ("a,b", 1), ("a%2Cb", 0), ("", 3), ("c", 0)):
        listed = await api.call("sandbox/list", params={"tags": query})
        assert listed["pagination"]["total_records"] == expected, query
    (found,) = (await api.call("sandbox/list", params={"tags": "a,b"}))["sandboxes"]
    assert found["id"] == both
    assert found["tags"] == ["a", "b"]


async def test_pages(api: Any) -> None:
    made = [await api.fork() for _ in range(5)]
    seen, page = [], 1
    while page is not None:
        params = {"page": page, "page_size": 2, "order_by": "inserted_at", "direction": "asc"}
        listed = await api.call("sandbox/list", params=params)
        pagination = listed["pagination"]
        assert (pagination["total_records"], pagination["current_page"]) == (5, page)
        seen += [sandbox["id"] for sandbox in listed["sandboxes"]]
        page = pagination["next_page"]
    assert seen == made
    beyond = await api.call("sandbox/list", params={"page": 9})
    assert beyond["sandboxes"] == []
    assert beyond["pagination"]["next_page"] is None


async def test_orders(api: Any) -> None:
    first, second = await api.fork(), await api.fork()
    await api.call("vm/update_hibernation_timeout", path={"id": first}, json={"hibernation_timeout_seconds": 9})
    for params, expected in (
        ({}, [first, second]),
        ({"direction": "asc"}, [second, first]),
        ({"order_by": "inserted_at"}, [second, first]),
        ({"order_by": "inserted_at", "direction": "asc"}, [first, second]),
    ):
        listed = await api.call("sandbox/list", params=params)
        assert [sandbox["id"] for sandbox in listed["sandboxes"]] == expected


async def test_list_of_what_runs(api: Any) -> None:
    running, sleeping = await api.fork(), await api.fork()
    await api.call("vm/hibernate", path={"id": sleeping})
    listed = await api.call("sandbox/list", params={"status": "running"})
    assert [sandbox["id"] for sandbox in listed["sandboxes"]] == [running]
    assert len((await api.call("sandbox/list"))["sandboxes"]) == 2


async def test_forks_of_a_sandbox_in_every_state(api: Any, core: Any, sandbox: str) -> None:
    await api.call("vm/update_hibernation_timeout", path={"id": sandbox}, json={"hibernation_timeout_seconds": 77})
    for operation, state in ((None, "running"), ("vm/hibernate", "paused"), ("vm/shutdown", "stopped")):
        if operation:
            await api.call(operation, path={"id": sandbox})
        made = await api.fork(sandbox, title=f"of {state}", tags=["copy"])
        assert core.sandboxes.peek(sandbox).state == state
        copy = core.sandboxes.peek(made)
        assert (copy.forked_from, dict(copy.labels)) == (sandbox, {"copy": ""})
        assert copy.timers.idle_timeout == 77
        assert (await api.start(made))["bootup_type"] == "FORK"
        assert (await api.start(made))["bootup_type"] == "RUNNING"


async def test_fork_of_a_deleted_sandbox(api: Any, sandbox: str) -> None:
    await api.call("vm/delete", path={"id": sandbox})
    assert sandbox in await api.call("sandbox/fork", 404, path={"id": sandbox}, json={})


async def test_fork_while_it_changes(api: Any, machines: Any, sandbox: str) -> None:
    """It is waited for."""
    gate = machines.hold("pause")
    hibernating = asyncio.create_task(api.call("vm/hibernate", path={"id": sandbox}))
    await gate.reached.wait()
    forking = asyncio.create_task(api.fork(sandbox))
    gate.open()
    await hibernating
    assert (await api.start(await forking))["bootup_type"] == "FORK"


async def test_fork_with_start_options(api: Any, core: Any, sandbox: str) -> None:
    options = {
        "tier": "Nano",
        "hibernation_timeout_seconds": 60,
        "ipcountry": "NL",
        "automatic_wakeup_config": {"http": False, "websocket": True},
    }
    for source in (sandbox, "pcz35m"):
        made = await api.call("sandbox/fork", 201, path={"id": source}, json={"start_options": options})
        started = made["start_response"]
        assert (started["id"], started["bootup_type"]) == (made["id"], "FORK")
        kept = core.sandboxes.peek(made["id"])
        assert kept.resources == Resources(2, 4096, 20480)
        assert kept.timers.idle_timeout == 60
        own = kept.dialect_data["codesandbox"]
        assert own["automatic_wakeup_config"] == {"http": False, "websocket": True}
    made = await api.call("sandbox/fork", 201, path={"id": sandbox}, json={"start_options": {}})
    assert made["start_response"]["cluster"] == "local"


async def test_templates_tags_and_aliases(api: Any, stranger: Any) -> None:
    template = await api.call(
        "templates/create", 201, json={"forkOf": "pcz35m", "title": "T", "tags": ["sdk-template"]}
    )
    source = template["sandboxes"][0]["id"]
    assert (await api.call("sandbox/get", path={"id": source}))["tags"] == ["sdk-template"]
    for alias in ("v1", "v1", "Latest_2"):
        named = {"namespace": "my-team", "alias": alias}
        assigned = await api.call("vm/assign_tag_alias", path=named, json={"tag_id": template["tag"]})
        assert assigned["tag_id"] == template["tag"]
    await api.call("vm/hibernate", path={"id": source})
    for reference in (template["tag"], "my-team@v1", "my-team%40Latest_2"):
        assert await api.fork(reference)
    other = await api.fork()
    tag = (await api.call("vm/create_tag", json={"vm_ids": [other, source]}))["tag_id"]
    await api.call("vm/assign_tag_alias", path={"namespace": "my-team", "alias": "v1"}, json={"tag_id": tag})
    assert (await api.start(await api.fork("my-team@v1")))["bootup_type"] == "FORK"
    await api.call("vm/delete", path={"id": other})
    assert await api.fork("my-team@v1"), "the second sandbox of the tag stands in for the first"
    await api.call("vm/delete", path={"id": source})
    for reference in (tag, "my-team@v1", "my-team@v2", "nobody@v1", "@", "a@"):
        await api.call("sandbox/fork", 404, path={"id": reference}, json={})
    await stranger.call("sandbox/fork", 404, path={"id": tag}, json={})
    await stranger.call("vm/assign_tag_alias", 404, path={"namespace": "a", "alias": "b"}, json={"tag_id": tag})


async def test_a_template_cannot_be_hidden_by_a_name(api: Any, core: Any) -> None:
    principal = await core.access.local_principal()
    await core.sandboxes.create(principal, NewSandbox(snapshot="minimal", name="pcz35m"))
    made = core.sandboxes.peek(await api.fork("pcz35m"))
    assert made.forked_from is None
    assert made.resources.cpu == 4


async def test_a_sandbox_of_another_api(api: Any, core: Any, machines: Any) -> None:
    principal = await core.access.local_principal()
    timers = Timers(auto_stop=900)
    new = NewSandbox(
        snapshot="daytona-small", name="by-daytona", usual_user="daytona", labels={"language": "go"}, timers=timers
    )
    made = await core.sandboxes.create(principal, new)
    shown = await api.call("sandbox/get", path={"id": made.id})
    assert (shown["title"], shown["privacy"], shown["tags"]) == ("by-daytona", 2, [])
    await api.call("vm/shutdown", path={"id": made.id})
    started = await api.start(made.id, hibernation_timeout_seconds=120)
    assert started["bootup_type"] == "CLEAN"
    assert (machines.root(made.id) / "project/workspace").is_dir()
    assert core.sandboxes.peek(made.id).timers == Timers(idle_timeout=120)
    copy = core.sandboxes.peek(await api.fork(made.id, tags=["mine"]))
    assert dict(copy.labels) == {"language": "go", "mine": ""}
