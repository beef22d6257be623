"""Settings as the commands need them, and the lock that keeps two servers off one data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moonpool.cli.client import CommandFailed, read_environment
from moonpool.config import Settings


def load_settings() -> Settings:
    """The environment's MOONPOOL_* variables, over what `moonpool up` noted."""
    for name, value in read_environment().items():
        if name.startswith("MOONPOOL_"):
            os.environ.setdefault(name, value)
    return Settings()


@contextmanager
def data_lock(data: Path) -> Iterator[None]:
    """Held for as long as a process uses the data folder; raises CommandFailed when another one does."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(f"Another moonpool process uses {data}; stop it first.") from None
        yield
    finally:
        os.close(descriptor)
