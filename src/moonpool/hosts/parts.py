"""The engine's parts, opened in the order in which they need each other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import moonpool.guest
from moonpool.engine.cgroups import Cgroups
from moonpool.engine.gvisor import Driver
from moonpool.engine.images import (
    Halt,
    Means,
    base_recipe,
    ensure_agent,
    ensure_base,
    ensure_code_runner,
    ensure_desktop,
    ensure_workspace,
)
from moonpool.engine.instance import Instance
from moonpool.engine.network import Network
from moonpool.engine.storage import Pool
from moonpool.hosts.settings import HostSettings

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Parts:
    instance: Instance
    pool: Pool
    cgroups: Cgroups
    network: Network
    driver: Driver
    agent: Path

    def close(self) -> None:
        """Leaves nothing on the machine but files; for when no sandbox runs any more. Every part is tried."""
        with ExitStack() as stack:
            stack.callback(self.pool.close)
            stack.callback(self.cgroups.close)
            stack.callback(self.network.close)
            stack.callback(self.driver.close)


def silent(_phase: str, _fraction: float) -> None:
    """Progress for those who do not watch."""


def open_images(settings: HostSettings, progress: Progress = silent, halt: Halt | None = None) -> tuple[Path, Pool]:
    """The agent's folder and the pool with the base image in it, both built where they are missing. Blocking; GivenUp
    when ``halt`` is called."""
    instance = Instance(settings.data.resolve())
    instance.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    pool = Pool.open(instance, size_bytes=settings.disk_pool_bytes)
    with undone_on_failure(pool.close, instance):
        means = Means(settings.cache, progress, settings.debian_mirror, halt or Halt())
        further = settings.base_packages
        base = ensure_base(pool, means, base_recipe(further))
        ensure_workspace(pool, base)
        if settings.desktop:
            ensure_desktop(pool, means, further)
        if settings.code_runner:
            ensure_code_runner(pool, means, further)
        guest_package = Path(next(iter(moonpool.guest.__path__)))
        return ensure_agent(base.path, instance.data / "agent", guest_package), pool


def open_parts(settings: HostSettings, progress: Progress = silent, halt: Halt | None = None) -> Parts:
    """Blocking; builds the base image where it is missing. Raises MachineUnfit where the machine cannot do this, and
    GivenUp when ``halt`` is called meanwhile."""
    agent, pool = open_images(settings, progress, halt)
    instance = Instance(settings.data.resolve())
    with undone_on_failure(pool.close, instance):
        cgroups = Cgroups.open(instance)
        driver = Driver(instance, cgroups, agent, runsc=settings.runsc, mend=settings.mend_runsc)
        network = Network.open(instance, operator_allow=settings.operator_allow, operator_deny=settings.operator_deny)
    return Parts(instance, pool, cgroups, network, driver, agent)


@contextmanager
def undone_on_failure(undo: Callable[[], None], instance: Instance) -> Iterator[None]:
    """A start that fails leaves nothing behind, but for what sandboxes of an earlier server still run on."""
    try:
        yield
    except BaseException:
        undo_start(undo, instance)
        raise


def undo_start(undo: Callable[[], None], instance: Instance) -> None:
    """Blocking, and not for the thread of an event loop: the network's part has one of its own."""
    if not any((instance.run / "machines").glob("*.json")):
        undo()
