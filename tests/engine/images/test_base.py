"""The way to a base image: built, stored, unpacked, published; and every place where it can be cut off."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from moonpool.engine.images import Halt, Image, Means, Recipe, base_recipe, ensure_base, find_image, list_images
from moonpool.engine.images.archive import Archive
from moonpool.engine.images.base import HASH_SHOWN, _prune
from moonpool.engine.instance import Instance
from moonpool.engine.storage import Kind, Pool, btrfs
from moonpool.errors import EngineError, GivenUp

PATIENCE = 60.0  # seconds
BUILD = """
import sys
from pathlib import Path
from moonpool.engine.images import Means, ensure_base
from moonpool.engine.storage import Pool, QuotaMode
sys.path.insert(0, sys.argv[3])
from test_base import small_recipe
def progress(phase, fraction):
    print(phase, flush=True)
ensure_base(Pool(Path(sys.argv[1]), QuotaMode.SIMPLE, None), Means(Path(sys.argv[2]), progress), small_recipe())
"""


def silent(_phase: str, _fraction: float) -> None:
    pass


def never(phase: str, _fraction: float) -> None:
    raise AssertionError(f"nothing was to be done, but: {phase}")


def small_recipe(text: str = "small") -> Recipe:
    """Debian with nothing added."""
    script = f"#!/bin/sh\necho {text} > $1/etc/motd\n"
    return replace(
        base_recipe(), packages=(), node_packages=(), wheels=(), files=(), links=(), users=(), customise=script
    )


def archive_of(cache: Path, recipe: Recipe) -> Archive:
    return Archive(cache / f"base-{recipe.digest[:HASH_SHOWN]}.tar.zst")


def store(cache: Path, text: str) -> None:
    """What a build of ``small_recipe(text)`` leaves, without the Debian in it."""
    root = cache.with_name(f"root-{text}")
    (root / "etc").mkdir(parents=True)
    (root / "etc/motd").write_text(text + "\n")
    cache.mkdir(exist_ok=True)
    archive = archive_of(cache, small_recipe(text))
    subprocess.run(f"tar -C {root} -c . | zstd -q > {archive.unfinished}", shell=True, check=True)
    archive.publish()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    store(folder, "small")
    return folder


def test_the_archive_becomes_a_read_only_image(pool: Pool, cache: Path) -> None:
    image = ensure_base(pool, Means(cache, silent), small_recipe())
    assert image == Image("base", small_recipe().digest, pool.path / "images/base")
    assert (image.path / "etc/motd").read_text() == "small\n"
    assert btrfs.is_read_only(image.path)
    assert pool.names(Kind.STAGING) == []
    assert list_images(pool) == [image]


def test_the_second_time_nothing_is_done(pool: Pool, cache: Path) -> None:
    image = ensure_base(pool, Means(cache, silent), small_recipe())
    assert ensure_base(pool, Means(cache / "absent", never), small_recipe()) == image


def test_progress_reaches_the_end(pool: Pool, cache: Path) -> None:
    seen: list[float] = []
    ensure_base(pool, Means(cache, lambda _, part: seen.append(part)), small_recipe())
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_changed_recipe_replaces_the_image_and_spares_what_was_made_from_it(pool: Pool, cache: Path) -> None:
    ensure_base(pool, Means(cache, silent), small_recipe())
    box = pool.snapshot(pool.path / "images/base", Kind.SANDBOXES, "box")
    store(cache, "other")
    other = small_recipe("other")
    image = ensure_base(pool, Means(cache, silent), other)
    assert (image.path / "etc/motd").read_text() == "other\n"
    assert (box / "etc/motd").read_text() == "small\n"
    assert pool.names(Kind.IMAGES) == ["base"]
    assert pool.names(Kind.STAGING) == []


def test_what_a_crash_left_while_unpacking_is_cleared_away(pool: Pool, cache: Path) -> None:
    left = pool.create(Kind.STAGING, f"base-{small_recipe().digest[:HASH_SHOWN]}")
    (left / "half").touch()
    image = ensure_base(pool, Means(cache, silent), small_recipe())
    assert not (image.path / "half").exists()
    assert pool.names(Kind.STAGING) == []


def test_a_crash_between_publishing_and_sealing_is_made_good(pool: Pool, cache: Path) -> None:
    image = ensure_base(pool, Means(cache, silent), small_recipe())
    pool.set_read_only(image.path, False)
    ensure_base(pool, Means(cache, never), small_recipe())
    assert btrfs.is_read_only(image.path)


def test_a_sandbox_cannot_pass_for_an_image(pool: Pool, cache: Path) -> None:
    pool.create(Kind.IMAGES, "stray")
    assert find_image(pool, "stray") is None
    assert list_images(pool) == []


def killed_at(phase: str, pool: Pool, cache: Path) -> None:
    """Run a build in a process of its own, and kill that when it says it has come to ``phase``."""
    command = [sys.executable, "-c", BUILD, str(pool.path), str(cache), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert any(line.strip() == phase for line in builder.stdout)
        os.kill(builder.pid, signal.SIGKILL)


def test_killed_while_it_unpacks_the_next_one_succeeds(pool: Pool, cache: Path) -> None:
    killed_at("unpacking the base image", pool, cache)
    assert (ensure_base(pool, Means(cache, silent), small_recipe()).path / "etc/motd").exists()


def test_a_real_build_killed_then_finished_then_damaged(pool: Pool, tmp_path: Path) -> None:
    cache = tmp_path / "fresh"
    killed_at("installing the essential packages", pool, cache)
    deadline = time.monotonic() + PATIENCE
    while any(str(cache / "build-base") in text_of(process) for process in Path("/proc").glob("[0-9]*/cmdline")):
        assert time.monotonic() < deadline, "what the build started goes on without it"
        time.sleep(0.05)  # They are nobody's children any more, and the kernel ends them one after the other.
    image = ensure_base(pool, Means(cache, silent), small_recipe())
    assert (image.path / "etc/motd").read_text() == "small\n"
    archive = archive_of(cache, small_recipe())
    left = {path.name for path in cache.iterdir()} - {"base.lock", "downloads"}
    assert left == {archive.path.name, archive.checksum.name}
    sound = archive.path.read_bytes()
    archive.path.write_bytes(sound[:-5000] + bytes(5000))
    pool.delete(Kind.IMAGES, "base")
    image = ensure_base(pool, Means(cache, silent), small_recipe())
    assert (image.path / "etc/motd").read_text() == "small\n"
    assert archive.path.read_bytes() == sound, "the same recipe gives the same bytes"


def text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_a_mirror_that_cannot_be_reached_is_a_clear_error(pool: Pool, tmp_path: Path) -> None:
    other = small_recipe("other")
    with pytest.raises(EngineError, match="Building the base image failed") as refused:
        ensure_base(pool, Means(tmp_path / "cache", silent, "http://127.0.0.1:1/debian"), other)
    assert "127.0.0.1" in refused.value.message
    assert "MOONPOOL_DEBIAN_MIRROR" in refused.value.hint
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["base.lock"]
    assert pool.names(Kind.STAGING) == []


def test_a_build_that_is_given_up_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    halt = Halt()

    def tell(phase: str, _fraction: float) -> None:
        if phase == "installing the essential packages":
            halt.call()

    with pytest.raises(GivenUp):
        ensure_base(pool, Means(tmp_path / "cache", tell, halt=halt), small_recipe("another"))
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"base.lock", "downloads"}
    assert pool.names(Kind.STAGING) == []
    with pytest.raises(GivenUp):
        ensure_base(pool, Means(tmp_path / "cache", silent, halt=halt), small_recipe("another"))


def test_a_pool_without_room_keeps_the_archive(tmp_path: Path, cache: Path) -> None:
    pool = Pool.open(Instance(tmp_path / "tiny"), size_bytes=1)
    before = archive_of(cache, small_recipe()).path.stat().st_mtime_ns
    ballast = pool.create(Kind.SANDBOXES, "ballast") / "file"
    subprocess.run(["dd", "if=/dev/urandom", f"of={ballast}", "bs=1M"], check=False, capture_output=True)
    with pytest.raises(EngineError, match=r"Cannot unpack|No space"):
        ensure_base(pool, Means(cache, silent), small_recipe())
    assert archive_of(cache, small_recipe()).path.stat().st_mtime_ns == before
    pool.close()


def test_old_archives_go(tmp_path: Path) -> None:
    for number in range(4):
        archive = Archive(tmp_path / f"base-{number}.tar.zst")
        archive.unfinished.touch()
        archive.publish()
        os.utime(archive.path, (number, number))
    _prune(tmp_path, "base")
    assert sorted(path.name for path in tmp_path.glob("*.zst")) == ["base-2.tar.zst", "base-3.tar.zst"]
    assert len(list(tmp_path.glob("*.sha256"))) == 2
