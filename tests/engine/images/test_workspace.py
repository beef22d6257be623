"""The image with a project: made from the base image once, anew when that changes, and whole after a crash."""

from pathlib import Path

import pytest

from moonpool.engine.images import Image, ensure_workspace, publish, stage
from moonpool.engine.images import workspace as module
from moonpool.engine.storage import Kind, Pool, btrfs
from moonpool.errors import EngineError

PROJECT = "project/workspace"


def base_of(pool: Pool, digest: str = "one") -> Image:
    (stage(pool, "new") / "base-file").write_text(digest)
    return publish(pool, "new", "base", digest)


def test_the_base_with_a_project_that_root_owns(pool: Pool) -> None:
    image = ensure_workspace(pool, base_of(pool))
    assert (image.path / "base-file").read_text() == "one"
    for path in (image.path / PROJECT, *(image.path / PROJECT).rglob("*")):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o755 if path.is_dir() else 0o644)
    assert (image.path / PROJECT / "package.json").exists()
    assert btrfs.is_read_only(image.path)
    assert pool.names(Kind.STAGING) == []


def test_it_is_made_once_and_anew_for_another_base(pool: Pool) -> None:
    base = base_of(pool)
    first = ensure_workspace(pool, base)
    number = btrfs.subvolume_id(first.path)
    assert ensure_workspace(pool, base) == first
    assert btrfs.subvolume_id(first.path) == number
    second = ensure_workspace(pool, base_of(pool, "two"))
    assert second.hash != first.hash
    assert (second.path / "base-file").read_text() == "two"


def test_one_that_was_cut_off_is_made_again(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(pool)

    def cut_off(folder: Path) -> None:
        (folder / "half").mkdir(parents=True)
        raise EngineError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_fill", cut_off)
        with pytest.raises(EngineError):
            ensure_workspace(pool, base)
    assert pool.names(Kind.IMAGES) == ["base"]
    image = ensure_workspace(pool, base)
    assert not (image.path / PROJECT / "half").exists()
    assert pool.names(Kind.STAGING) == []
