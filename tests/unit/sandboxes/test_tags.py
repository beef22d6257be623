"""Tags and their aliases, on a database of each kind."""

import pytest

from moonpool.access.model import Principal, Scope
from moonpool.errors import Forbidden, InvalidInput, SandboxNotFound, TagNotFound
from moonpool.sandboxes.model import SandboxChange, SandboxState
from moonpool.sandboxes.query import SandboxQuery, SandboxSort
from tests.unit.sandboxes.conftest import STRANGER, World


async def test_a_tag_stands_for_the_first_sandbox_that_is_left(world: World) -> None:
    tags = world.core.tags
    first, second = await world.create(), await world.create()
    tag = await tags.create(world.admin, [first.id, second.id, first.id])
    assert (await tags.resolve(world.admin, tag)).id == first.id
    await world.sandboxes.destroy(world.admin, first.id)
    assert (await tags.resolve(world.admin, tag)).id == second.id
    await world.sandboxes.destroy(world.admin, second.id)
    with pytest.raises(TagNotFound, match="deleted"):
        await tags.resolve(world.admin, tag)
    world.clock.advance(25 * 3600)
    await world.core.records.prune()
    with pytest.raises(TagNotFound):
        await tags.resolve(world.admin, tag)


async def test_an_alias_can_be_given_to_another_tag(world: World) -> None:
    tags = world.core.tags
    first, second = await world.create(), await world.create()
    one, two = await tags.create(world.admin, [first.id]), await tags.create(world.admin, [second.id])
    given = await tags.assign(world.admin, "my", "latest", one)
    other = await tags.assign(world.admin, "my", "stable", one)
    assert given.id != other.id
    assert (await tags.resolve(world.admin, "my@latest")).id == first.id
    assert (await tags.assign(world.admin, "my", "latest", two)).id == given.id
    assert (await tags.resolve(world.admin, "my@latest")).id == second.id
    assert (await tags.resolve(world.admin, "my@stable")).id == first.id


async def test_who_may_not(world: World) -> None:
    tags, sandbox = world.core.tags, await world.create()
    tag = await tags.create(world.admin, [sandbox.id])
    await tags.assign(world.admin, "my", "latest", tag)
    with pytest.raises(SandboxNotFound):
        await tags.create(STRANGER, [sandbox.id])
    for reference in (tag, "my@latest"):
        with pytest.raises(TagNotFound):
            await tags.resolve(STRANGER, reference)
    with pytest.raises(TagNotFound):
        await tags.assign(STRANGER, "my", "latest", tag)
    reader = Principal(world.admin.team_id, world.admin.user_id, None, frozenset({Scope.SANDBOXES_READ}))
    assert (await tags.resolve(reader, tag)).id == sandbox.id
    with pytest.raises(Forbidden):
        await tags.create(reader, [sandbox.id])


async def test_bad_words(world: World) -> None:
    tags, sandbox = world.core.tags, await world.create()
    tag = await tags.create(world.admin, [sandbox.id])
    for namespace, alias in (("", "a"), ("a", "b c"), ("a@b", "c"), ("a", "x" * 65)):
        with pytest.raises(InvalidInput):
            await tags.assign(world.admin, namespace, alias, tag)
    for unknown in ("pt_x", "a@b", "@", "a\0b", "x\ud800"):
        with pytest.raises(TagNotFound):
            await tags.resolve(world.admin, unknown)
    with pytest.raises(InvalidInput):
        await tags.create(world.admin, [])


async def test_figures_and_orders(world: World) -> None:
    first, second = await world.create(), await world.create()
    await world.sandboxes.stop(world.admin, second.id)
    assert world.sandboxes.tally(world.admin) == {SandboxState.RUNNING: 1, SandboxState.STOPPED: 1}
    assert world.sandboxes.tally(STRANGER) == {}
    world.clock.advance(1)
    await world.sandboxes.update(world.admin, first.id, SandboxChange(labels={"a": ""}))
    page = await world.sandboxes.list(world.admin, SandboxQuery(sort=SandboxSort.UPDATED_AT, limit=1))
    assert [item.id for item in page.items] == [first.id]
    query = SandboxQuery(sort=SandboxSort.UPDATED_AT, limit=1, cursor=page.next_cursor)
    assert [item.id for item in (await world.sandboxes.list(world.admin, query)).items] == [second.id]
