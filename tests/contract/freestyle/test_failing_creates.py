"""VMs that the host cannot make: the client is told in Freestyle's form, and nothing is left of them."""

from typing import Any

import httpx
import pytest

from moonpool.errors import EngineError, NoCapacity
from tests.contract.freestyle.conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAYER = {"additionalFiles": {"/opt/a": {"content": "a"}}, "skipCache": True}
LAYERED = {"spec": {"snapshot": LAYER}}
FAILURES = [
    (EngineError("It broke"), 500, "INTERNAL_ERROR"),
    (NoCapacity(), 503, "NO_LOCAL_STORAGE_CAPACITY"),
]


async def left(owner: httpx.AsyncClient, door: Door) -> tuple[object, ...]:
    """What a VM could leave: its place in the list, its machine, what counts against limits, its snapshot."""
    vms = (await owner.get("/v1/vms")).json()
    snapshots = (await owner.get("/v1/vms/snapshots")).json()
    held = door.inside.sandboxes.holdings(door.inside.owner)
    return vms, snapshots, held, dict(door.inside.machines.states), set(door.inside.machines.kept)


def is_told(answer: httpx.Response, status: int, code: str) -> None:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"], body["error"]) == (status, code, code), body
    assert body["message"]
    assert body["message"] == body["description"]


@pytest.mark.parametrize(("error", "status", "code"), FAILURES)
@pytest.mark.parametrize("body", [{}, {"name": "mine", "recreate": True}, LAYERED], ids=["plain", "named", "layered"])
async def test_nothing_is_left(
    owner: httpx.AsyncClient, door: Door, body: dict[str, object], error: Exception, status: int, code: str
) -> None:
    before = await left(owner, door)
    door.inside.machines.fail("create", error)
    is_told(await owner.post("/v1/vms", json=body), status, code)
    assert await left(owner, door) == before


@pytest.mark.parametrize(("error", "status", "code"), FAILURES)
async def test_nothing_is_left_of_forks(
    owner: httpx.AsyncClient, door: Door, error: Exception, status: int, code: str
) -> None:
    before = await left(owner, door)
    door.inside.machines.fail("fork", error)
    is_told(await owner.post(f"/v1/vms/{door.vm}/fork", json={"count": 3}), status, code)
    assert await left(owner, door) == before


@pytest.mark.parametrize(("error", "status", "code"), FAILURES)
async def test_one_that_is_not_made_anew_can_be_tried_again(
    owner: httpx.AsyncClient, door: Door, error: Exception, status: int, code: str
) -> None:
    before = await left(owner, door)
    made = (await owner.post("/v1/vms", json={"recreate": True})).json()
    path = f"/v1/vms/{made['id']}"
    await owner.delete(path)
    door.inside.machines.fail("create", error)
    is_told(await owner.post(f"{path}/start", json={}), status, code)
    assert (await owner.post(f"{path}/start", json={})).json()["domains"] == made["domains"]
    assert (await owner.get(path)).json()["state"] == "running"
    await owner.delete(path)
    assert await left(owner, door) == before
