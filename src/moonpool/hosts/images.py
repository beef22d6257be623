"""Images on this host, for the command line: without a running server."""

from moonpool.engine.images import Image
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
