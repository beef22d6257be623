"""Data folders that have what every first start makes: tables, the base image, the agent and its warm checkpoint.

That is made once in a run of the tests, and each folder gets a copy: to unpack the image takes seconds of a processor.
What a first start does is shown by tests/engine/images, and by tests/cli on folders of their own.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs import end_zygotes

TEMPLATE = "MOONPOOL_TEST_TEMPLATE"  # a variable: the run's own folder
VAR_TMP = Path("/var/tmp")  # on a disk, where /tmp may be memory
MADE = ("pool.img", "agent", "gvisor", "db.sqlite")


def pytest_configure(config: pytest.Config) -> None:
    """Processes of pytest-xdist inherit the variable."""
    config.add_cleanup(end_zygotes)
    os.environ.setdefault(TEMPLATE, str(VAR_TMP / f"moonpool-test-template-{os.getpid()}"))


def pytest_unconfigure(config: pytest.Config) -> None:
    template = Path(os.environ[TEMPLATE])
    if not hasattr(config, "workerinput"):
        shutil.rmtree(template, ignore_errors=True)


@contextmanager
def data_folder(folder: Path = VAR_TMP) -> Iterator[Path]:
    """A new one below ``folder``, for a server that has stopped when the block ends."""
    data = Path(tempfile.mkdtemp(prefix="moonpool-test-", dir=folder))
    try:
        furnish(data)
        yield data
    finally:
        shutil.rmtree(data)


def furnish(data: Path) -> None:
    template = Path(os.environ[TEMPLATE])
    template.mkdir(mode=0o700, exist_ok=True)
    with open(template / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (template / "ready").exists():
            subprocess.run([sys.executable, "-m", "tests.first_start", str(template)], check=True)
            (template / "ready").touch()
    if not (template / "pool.img").exists():
        return  # /var/tmp is btrfs itself, and so is the pool
    made = [template / name for name in MADE if (template / name).exists()]
    subprocess.run(["cp", "--archive", "--reflink=auto", *made, data], check=True)
    # Before Linux 6.7 no two file systems of one name are mounted; of later ones btrfstune may not know the quotas.
    subprocess.run(["btrfstune", "-m", data / "pool.img"], check=False, capture_output=True)
