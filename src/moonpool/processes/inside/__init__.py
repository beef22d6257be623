"""Programs that run inside sandboxes, on the image's own Python 3.8 or newer; never imported on this side.

They are handed over as text (``python3 -c``), so each is one file that needs nothing but the standard library.
"""

from functools import cache
from importlib import resources


@cache
def source(name: str) -> str:
    """The text of one of these programs."""
    return resources.files(__name__).joinpath(name).read_text()
