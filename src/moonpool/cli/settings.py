"""Settings as the commands need them, and the lock that keeps two servers off one data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moonpool.cli.client import CommandFailed, noted_environment

if TYPE_CHECKING:
    from moonpool.config import Settings

PREFIX = "MOONPOOL_"
SERVING = "serves on "  # and then ADDRESS:PORT: what a server writes into the lock
WRONG_USE = 2  # exit code
NOTE_LIMIT = 1000  # bytes


def load_settings(**given: object) -> "Settings":
    """What was ``given`` on the command line, over the environment's MOONPOOL_* variables, over what `moonpool up`
    noted; raises CommandFailed for values that cannot be."""
    from pydantic import ValidationError

    from moonpool.config import Settings

    values: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in noted_environment().items()
        if name.startswith(PREFIX) and name not in os.environ
    }
    values.update((name, value) for name, value in given.items() if value is not None)
    try:
        return Settings(**values)
    except ValidationError as error:
        wrong = "; ".join(f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        raise CommandFailed(f"Wrong settings: {wrong}", WRONG_USE) from None


@contextmanager
def data_lock(data: Path, purpose: str) -> Iterator[None]:
    """Held for as long as a process uses the data folder; raises CommandFailed when another one does."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _note(descriptor)
            raise CommandFailed(f"Another moonpool process uses {data} ({holder}); stop it first.") from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}: {purpose}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def lock_holder(data: Path) -> str | None:
    """What the process that uses the data folder says of itself; None where there is none. Changes nothing."""
    try:
        descriptor = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _note(descriptor)
    finally:
        os.close(descriptor)
    return None


def _note(descriptor: int) -> str:
    return os.pread(descriptor, NOTE_LIMIT, 0).decode(errors="replace") or "it does not say what for"
