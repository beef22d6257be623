"""The warm checkpoint: the agent's memory, taken once on an empty root, from which every pool member is restored."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from moonpool.engine.gvisor import checkpoint as images
from moonpool.engine.gvisor.digests import sha256
from moonpool.engine.gvisor.driver import Driver
from moonpool.engine.gvisor.model import Member, Slot
from moonpool.errors import CheckpointCorrupt, CheckpointIncompatible

NAME = "warm-build"  # of the member that is booted for it
SECRET_BYTES = 32
PREFIX = "warm-"
LOCK = "warm.lock"

S = TypeVar("S", bound=Slot)


@dataclass(frozen=True)
class Warm:
    """``path`` is the checkpoint; ``secret`` (hexadecimal) what the agent in it expects until it is given another."""

    path: Path
    secret: str


def ensure_warm(
    driver: Driver,
    folder: Path,
    borrow_slot: Callable[[], AbstractContextManager[S]],
    quiesce: Callable[[S, str], None],
) -> Warm:
    """The warm checkpoint in ``folder`` for this very agent, runsc, flags and processor; made where it is missing.

    ``borrow_slot`` gives a network slot for a boot; ``quiesce(slot, secret)`` waits until the agent answers and has it
    close its connections and be still. Only one caller builds, others wait, in whatever thread or process they are; one
    that is killed leaves nothing that the next call does not clear away. Checkpoints of other agents are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = fingerprint(driver)
    target = folder / f"{PREFIX}{key[:16]}"
    with _locked(folder / LOCK):
        found = _existing(driver, target, key)
        if found is None:
            _clear(folder)
            found = _build(driver, target, key, borrow_slot, quiesce)
    return found


def fingerprint(driver: Driver) -> str:
    """Hexadecimal sha256 over everything the warm checkpoint depends on."""
    parts = [json.dumps(asdict(driver.capabilities)), driver.specification_digest(), tree_digest(driver.agent)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def tree_digest(folder: Path) -> str:
    """Hexadecimal sha256 over names, modes, links and contents of everything below ``folder``."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = sha256(path)
        total.update(f"{path.relative_to(folder)}\0{path.lstat().st_mode:o}\0{content}\n".encode())
    return total.hexdigest()


def _existing(driver: Driver, target: Path, key: str) -> Warm | None:
    try:
        driver.verify(target, checksum=True)
        extra = images.load(target)["extra"]
    except (CheckpointCorrupt, CheckpointIncompatible):
        return None
    return Warm(target, extra["secret"]) if extra.get("key") == key else None


def _build(
    driver: Driver,
    target: Path,
    key: str,
    borrow_slot: Callable[[], AbstractContextManager[S]],
    quiesce: Callable[[S, str], None],
) -> Warm:
    driver.kill(NAME)
    secret = secrets.token_hex(SECRET_BYTES)
    with borrow_slot() as slot:
        driver.boot(Member(NAME, slot, NAME), secret=secret)
        try:
            quiesce(slot, secret)
            driver.checkpoint(NAME, target, connected=False, extra={"key": key, "secret": secret})
        finally:
            driver.kill(NAME)
    return Warm(target, secret)


def _clear(folder: Path) -> None:
    images.sweep(folder)
    for path in folder.glob(f"{PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by an open file, so that the kernel releases it whatever becomes of the holder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
