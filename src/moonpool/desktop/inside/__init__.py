"""Programs that run inside a sandbox with a desktop, on its own Python; never imported on this side."""

from functools import cache
from importlib import resources


@cache
def source(name: str) -> str:
    """The text of one of these programs."""
    return resources.files(__name__).joinpath(name).read_text()
