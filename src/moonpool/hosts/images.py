"""Images on this host, for the command line: without a running server."""

from moonpool.engine.images import (
    BASE,
    CODE_RUNNER,
    DESKTOP,
    Image,
    base_recipe,
    code_runner_recipe,
    desktop_recipe,
)
from moonpool.engine.images import list_images as images_in
from moonpool.engine.instance import Instance
from moonpool.engine.storage import Pool
from moonpool.hosts.parts import Progress, open_images
from moonpool.hosts.settings import HostSettings


def build_images(settings: HostSettings, progress: Progress) -> None:
    """Blocking; leaves the images and the agent's folder in place and nothing mounted."""
    _agent, pool = open_images(settings, progress)
    pool.close()


def list_images(settings: HostSettings) -> list[Image]:
    """Works beside a running server, whose mount is used where there is one."""
    instance = Instance(settings.data.resolve())
    was_open = Pool.is_open(instance)
    pool = Pool.open(instance, size_bytes=settings.disk_pool_bytes)
    try:
        return images_in(pool)
    finally:
        if not was_open:
            pool.close()


def images_are_current(settings: HostSettings) -> bool:
    """Whether ``build_images`` would have nothing to build; beside a running server too."""
    wanted = {BASE: base_recipe(settings.base_packages)}
    if settings.desktop:
        wanted[DESKTOP] = desktop_recipe(settings.base_packages)
    if settings.code_runner:
        wanted[CODE_RUNNER] = code_runner_recipe(settings.base_packages)
    here = {image.name: image.hash for image in list_images(settings)}
    return all(here.get(name) == recipe.digest for name, recipe in wanted.items())
