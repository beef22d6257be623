"""The warm checkpoint: made once, made anew when anything differs, by one caller at a time."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from moonpool.engine.gvisor import Driver, ensure_warm
from moonpool.engine.gvisor.warm import tree_digest


@pytest.fixture
def warming(engine, tmp_path, quiesce_agent):
    """Calls ensure_warm() on a folder of its own and counts how often the agent was booted."""

    class Warming:
        folder = tmp_path / "agent"
        boots = 0
        driver = engine.driver

        def __call__(self):
            return ensure_warm(self.driver, self.folder, engine.slot, self.quiesce)

        def quiesce(self, slot, secret):
            self.boots += 1
            quiesce_agent(slot, secret)

    return Warming()


def test_made_once_then_found(warming):
    assert warming() == warming()
    assert warming.boots == 1


def test_it_restores_and_its_secret_is_the_agents(warming, engine):
    warm = warming()
    with engine.box(warm.path) as box, box.agent() as agent:
        assert agent.ask("secret") == warm.secret


@pytest.mark.parametrize("damage", ["truncate", "alter", "manifest"])
def test_damaged_it_is_made_anew(warming, engine, damage):
    before = warming()
    pages = before.path / "pages.img"
    if damage == "truncate":
        pages.write_bytes(b"")
    if damage == "alter":
        pages.write_bytes(bytes(pages.stat().st_size))
    if damage == "manifest":
        (before.path / "manifest.json").unlink()
    after = warming()
    assert after.path == before.path
    assert after.secret != before.secret
    engine.driver.verify(after.path, checksum=True)


def test_another_agent_has_another_and_the_old_one_goes(warming, engine, agent_folder, tmp_path):
    before = warming()
    other = shutil.copytree(agent_folder, tmp_path / "other", symlinks=True)
    (other / "lib/marker").write_text("changed")
    warming.driver = Driver(engine.instance, engine.cgroups, other)
    after = warming()
    assert after.path != before.path
    assert not before.path.exists()


def test_callers_at_once_make_one(warming):
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: warming(), range(3)))
    assert len({warm.secret for warm in found}) == 1
    assert warming.boots == 1


def test_an_agent_that_does_not_answer_leaves_nothing(warming, engine, tmp_path):
    def refuse(_slot, _secret):
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        ensure_warm(engine.driver, tmp_path / "agent", engine.slot, refuse)
    assert [entry.name for entry in (tmp_path / "agent").iterdir()] == ["warm.lock"]


def test_the_digest_sees_content_mode_name_and_link(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("a")
    seen = {tree_digest(tree)}
    (tree / "file").write_text("b")
    seen.add(tree_digest(tree))
    (tree / "file").chmod(0o755)
    seen.add(tree_digest(tree))
    (tree / "file").rename(tree / "other")
    seen.add(tree_digest(tree))
    (tree / "link").symlink_to("other")
    seen.add(tree_digest(tree))
    assert len(seen) == 5
    assert tree_digest(tree) == tree_digest(tree)
