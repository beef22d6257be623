"""Images that are built from Debian's packages: the one that every sandbox starts from until its user brings another,
the one with a desktop, and the one with a Jupyter server."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from moonpool.engine.images import node, wheels
from moonpool.engine.images.archive import Archive, ArchiveDamaged, exclusive
from moonpool.engine.images.builder import Additions, build_archive, missing_tools
from moonpool.engine.images.code_runner import code_runner_recipe
from moonpool.engine.images.halt import Halt
from moonpool.engine.images.mirror import choose_mirrors
from moonpool.engine.images.model import Image, Progress, find_image, publish, stage
from moonpool.engine.images.recipe import Recipe, base_recipe, desktop_recipe
from moonpool.engine.storage import Pool, btrfs
from moonpool.errors import EngineError, MachineUnfit

BASE = "base"
DESKTOP = "desktop"
CODE_RUNNER = "code-runner"
HASH_SHOWN = 16  # hexadecimal digits of the recipe's digest in names
MODULES = "usr/local/lib/node_modules"
ARCHIVES_KEPT = 2  # this recipe's, and the one before for who goes back a version


@dataclass(frozen=True)
class Means:
    """What images are built with. The archive in ``cache`` spares a second data folder the build; ``mirror`` None is
    whichever this machine uses."""

    cache: Path
    progress: Progress
    mirror: str | None = None
    halt: Halt = field(default_factory=Halt)

    def tell(self, phase: str, fraction: float) -> None:
        """Progress; GivenUp where nobody waits any more."""
        self.halt.check()
        self.progress(phase, fraction)


def ensure_base(pool: Pool, means: Means, recipe: Recipe | None = None) -> Image:
    """The image ``base``, built where the pool has none of this recipe (by default ``base_recipe()``).

    Raises EngineError when the build fails, MachineUnfit when a program for it is missing, and GivenUp.
    """
    return ensure_image(pool, BASE, recipe or base_recipe(), means)


def ensure_desktop(pool: Pool, means: Means, further: Iterable[str] = ()) -> Image:
    """As ``ensure_base``, of the image ``desktop``, with ``further`` packages."""
    return ensure_image(pool, DESKTOP, desktop_recipe(further), means)


def ensure_code_runner(pool: Pool, means: Means, further: Iterable[str] = ()) -> Image:
    """As ``ensure_base``, of the image ``code-runner``, with ``further`` packages."""
    return ensure_image(pool, CODE_RUNNER, code_runner_recipe(further), means)


def desktop_at_hand(cache: Path) -> bool:
    """Whether ``ensure_desktop`` has only to unpack it."""
    return _archive(cache, DESKTOP, desktop_recipe()).exists()


def ensure_image(pool: Pool, name: str, recipe: Recipe, means: Means) -> Image:
    present = find_image(pool, name)
    if present is not None and present.hash == recipe.digest:
        if not btrfs.is_read_only(present.path):
            pool.set_read_only(present.path, True)
        return present
    with exclusive(means.cache / f"{name}.lock"):
        return _publish(pool, name, _archive(means.cache, name, recipe), recipe, means)


def _archive(cache: Path, name: str, recipe: Recipe) -> Archive:
    return Archive(cache / f"{name}-{recipe.digest[:HASH_SHOWN]}.tar.zst")


def _publish(pool: Pool, name: str, archive: Archive, recipe: Recipe, means: Means) -> Image:
    """An archive that turns out to be damaged is built again, once."""
    for attempt in (1, 2):
        if not archive.exists():
            _build(name, archive, recipe, means)
        means.tell(f"unpacking the {name} image", 0.9)
        staged = f"{name}-{recipe.digest[:HASH_SHOWN]}"
        try:
            archive.unpack(stage(pool, staged))
            break
        except ArchiveDamaged:
            archive.remove()
            if attempt == 2:
                raise
    image = publish(pool, staged, name, recipe.digest)
    means.progress(f"{name} image ready", 1.0)
    return image


def _build(name: str, archive: Archive, recipe: Recipe, means: Means) -> None:
    if missing := missing_tools():
        raise MachineUnfit(f"Not installed: {', '.join(missing)}", hint="apt-get install mmdebstrap zstd util-linux")
    work = archive.path.parent / f"build-{name}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        means.tell("fetching Node and Python packages", 0.01)
        downloads = archive.path.parent / "downloads"
        additions = Additions(_overlay(recipe, work / "overlay", downloads), work / "wheels")
        wheels.collect(recipe.wheels, additions.wheels, downloads)
        mirrors = choose_mirrors(recipe.suite, means.mirror)
        means.halt.check()
        build_archive(recipe, mirrors, additions, work, archive.unfinished, means.progress, means.halt)
        means.progress("storing the archive", 0.87)
        archive.publish()
        _prune(archive.path.parent, name)
    except OSError as error:
        raise EngineError(f"Cannot build the {name} image: {error}") from error
    finally:
        archive.unfinished.unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)


def _prune(cache: Path, name: str) -> None:
    archives = sorted(cache.glob(f"{name}-*.tar.zst"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in archives[ARCHIVES_KEPT:]:
        Archive(path).remove()


def _overlay(recipe: Recipe, overlay: Path, downloads: Path) -> Path:
    """What is copied over the installed packages: Node packages, links and files."""
    for package in recipe.node_packages:
        node.install(package, overlay / MODULES, downloads)
    for file in recipe.files:
        path = overlay / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
        path.chmod(file.mode)
    for link in recipe.links:
        path = overlay / link.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(link.target)
    return overlay
