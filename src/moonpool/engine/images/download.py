"""Files of registries, fetched once and checked against what they were when they were pinned."""

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from moonpool.engine.images.archive import exclusive
from moonpool.errors import EngineError

TIMEOUT = 60  # seconds, for each answer of a registry


def fetch(url: str, target: Path, sound: Callable[[bytes], bool]) -> None:
    """Into ``target``, unless that is there and ``sound``; builds at once wait for each other. Raises EngineError."""
    with exclusive(target.parent / "lock"):
        _fetch(url, target, sound)


def _fetch(url: str, target: Path, sound: Callable[[bytes], bool]) -> None:
    if target.exists() and sound(target.read_bytes()):
        return
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 (always https)
            content = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise EngineError(f"Cannot fetch {url}: {error}", hint="The first build needs the network.") from error
    if not sound(content):
        raise EngineError(f"{url} is not what it was when it was pinned", hint="Try again; do not go round it.")
    target.write_bytes(content)
