"""The official Wrenn SDK in environments of its own: it needs Python 3.13, which the server does not."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("MOONPOOL_TEST_CACHE") or Path.home() / ".cache" / "moonpool-tests")
VERSION_CHECK = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"


def works(python: str) -> bool:
    """Whether it runs and is 3.13; a shim of that name may do neither."""
    return subprocess.run([python, "-c", VERSION_CHECK], capture_output=True, check=False).returncode == 0


@cache
def python_313() -> str:
    """A Python 3.13 of this machine, or one that uv installs."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    on_path = shutil.which("python3.13")
    candidates = [on_path] if on_path else []
    candidates += [str(path) for path in sorted(pyenv.glob("versions/3.13*/bin/python3"))]
    for candidate in candidates:
        if works(candidate):
            return candidate
    uv = shutil.which("uv") or "uv"
    subprocess.run([uv, "python", "install", "3.13"], check=True)
    found = subprocess.run([uv, "python", "find", "3.13"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


@cache
def sdk_python(version: str) -> str:
    """The interpreter of an environment with ``wrenn==version`` in it, made at first need and kept."""
    folder = CACHE / f"wrenn-{version}"
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python_313(), "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"wrenn=={version}"]
        subprocess.run(install, check=True)
        ready.touch()
    return str(folder / "bin" / "python")


@pytest.fixture(scope="session")
def wrenn_sdk() -> Callable[[str], str]:
    return sdk_python
