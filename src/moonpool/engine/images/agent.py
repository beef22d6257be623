"""The agent's folder: its own Python, loader and libraries, so that it runs on any image, or on none.

    bin/python3     lib/ld.so     lib/*.so.*     lib/python3.x/     agent/ (and its protocol.py)

Started as ``lib/ld.so --library-path lib bin/python3 -I -S agent``.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from moonpool.engine.images.archive import exclusive
from moonpool.engine.images.elf import interpreter
from moonpool.engine.storage import btrfs
from moonpool.errors import EngineError

MOUNT = "/.agent"  # where sandboxes see the folder; tracebacks name files there
FORMAT = 1  # to be raised when this file lays the folder out differently
HASH_SHOWN = 16  # hexadecimal digits
FOLDER_NAME = re.compile(rf"[0-9a-f]{{{HASH_SHOWN}}}")
LEFTOVER_NAME = re.compile(rf"{FOLDER_NAME.pattern}\.(new|old)")

# The C modules asyncio, ctypes, json, mmap, subprocess and terminals need. Without _ssl and _hashlib there is no
# OpenSSL in every sandbox's memory: sha256 is built into the interpreter.
EXTENSIONS = frozenset(
    (
        "_asyncio",
        "_contextvars",
        "_ctypes",
        "_json",
        "_posixsubprocess",
        "_queue",
        "_typing",
        "mmap",
        "resource",
        "termios",
    )
)
# fmt: off
LEFT_OUT = frozenset(
    (
        "__phello__", "__pycache__", "curses", "dbm", "dist-packages", "distutils", "email", "ensurepip", "html",
        "idlelib", "lib2to3", "mailbox.py", "msilib", "pydoc_data", "site-packages", "sitecustomize.py", "sqlite3",
        "test", "tests", "tkinter", "turtle.py", "turtledemo", "unittest", "venv", "wsgiref", "xml", "xmlrpc",
    )
)
# fmt: on
libc = ctypes.CDLL(None, use_errno=True)


def ensure_agent(root: Path, target: Path, guest: Path) -> Path:
    """The agent's folder below ``target``, named by what it is made of, built where it is missing.

    ``root`` is an image with Debian's python3; ``guest`` the package with ``agent/`` and ``protocol.py``. A folder
    under its final name is complete and never changes. Raises EngineError.
    """
    python = _python(root)
    folder = target / _digest(root, python, guest)[:HASH_SHOWN]
    if folder.is_dir():
        return folder
    with exclusive(target / "lock"):
        _remove_leftovers(target)
        if not folder.is_dir():
            _build(root, python, guest, folder)
    return folder


def prune_agents(target: Path, keep: Iterable[Path]) -> None:
    """Remove the agents' folders that are not in ``keep``; nothing may run from them any more."""
    kept = {path.name for path in keep}
    with exclusive(target / "lock"):
        for path in target.iterdir():
            if FOLDER_NAME.fullmatch(path.name) and path.name not in kept:
                path.rename(path.with_name(path.name + ".old"))
        _remove_leftovers(target)


def _build(root: Path, python: Path, guest: Path, folder: Path) -> None:
    fresh = folder.with_name(folder.name + ".new")
    try:
        _copy_python(root, python, fresh)
        _copy_agent(guest, fresh / "agent")
        _compile(fresh)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444)
        with btrfs.folder(folder.parent) as parent:
            libc.syncfs(parent)
            fresh.rename(folder)
            os.fsync(parent)
    except OSError as error:
        raise EngineError(f"Cannot build the agent's folder: {error}") from error


def _copy_python(root: Path, python: Path, fresh: Path) -> None:
    lib, version = fresh / "lib", python.name
    (fresh / "bin").mkdir(parents=True)
    (lib / version / "lib-dynload").mkdir(parents=True)
    shutil.copyfile(python, fresh / "bin/python3")
    loader = inside(root, interpreter(python))
    shutil.copyfile(loader, lib / "ld.so")
    for path in (fresh / "bin/python3", lib / "ld.so"):
        path.chmod(0o755)
    library = root / "usr/lib" / version
    for path in library.iterdir():
        if path.name not in LEFT_OUT and path.name != "lib-dynload" and (path.is_dir() or path.suffix == ".py"):
            _copy_module(path, lib / version / path.name)
    extensions = [path for path in (library / "lib-dynload").iterdir() if path.name.partition(".")[0] in EXTENSIONS]
    for path in extensions:
        shutil.copyfile(path, lib / version / "lib-dynload" / path.name)
    for name, path in _libraries(root, loader, [python, *extensions]):
        shutil.copyfile(path, lib / name)


def _copy_agent(guest: Path, target: Path) -> None:
    _copy_module(guest / "agent", target)
    shutil.copyfile(guest / "protocol.py", target / "protocol.py")


def _copy_module(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=lambda _, names: LEFT_OUT.intersection(names))
    else:
        shutil.copyfile(source, target)


def _libraries(root: Path, loader: Path, programs: list[Path]) -> Iterator[tuple[str, Path]]:
    """Name and file of every library that the programs load, all from the image, as the image's own loader sees it."""
    for program in programs:
        search = f"{loader.parent}:{root}/usr/lib"
        command = [str(loader), "--inhibit-cache", "--library-path", search, "--list", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError(f"{program} cannot be loaded: {done.stderr.strip()}")
        # The loader lists itself too, by an absolute path: as a name to copy to, that would be the host's own loader.
        for name, path in re.findall(r"^\s*([^/\s]+) => (\S+) \(", done.stdout, re.MULTILINE):
            if not Path(path).is_relative_to(root):
                raise EngineError(f"{program} needs {name}, which the image does not have")
            yield name, Path(path)


def _compile(fresh: Path) -> None:
    """With the folder's own interpreter. Unchecked: no time stamp is looked at, so that copies stay valid."""
    command = [*start_command(fresh), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(fresh), "-p", MOUNT, str(fresh / "lib"), str(fresh / "agent")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"The agent's Python does not work: {done.stdout[-500:]}{done.stderr[-500:]}")


def start_command(folder: Path) -> list[str]:
    """The agent's Python, run from wherever the folder is."""
    return [f"{folder}/lib/ld.so", "--library-path", f"{folder}/lib", f"{folder}/bin/python3", "-I", "-S"]


def inside(root: Path, path: str) -> Path:
    """``path`` of the image, every symbolic link followed as a process in the image would."""
    parts, place = list(reversed(Path(path).parts)), root
    for _ in range(64):
        if not parts:
            return place
        part = parts.pop()
        if part == "/":
            place = root
        elif part == "..":
            place = place if place == root else place.parent
        elif (place / part).is_symlink():
            parts.extend(reversed(Path(os.readlink(place / part)).parts))
        else:
            place /= part
    raise EngineError(f"{path} has too many symbolic links")


def _python(root: Path) -> Path:
    python = inside(root, "/usr/bin/python3")
    if not python.is_file():
        raise EngineError(f"The image at {root} has no python3")
    return python


def _digest(root: Path, python: Path, guest: Path) -> str:
    """Of everything that the folder is made from; the standard library stands for its package's file list."""
    total = hashlib.sha256(f"{FORMAT}\0{sorted(EXTENSIONS)}\0{sorted(LEFT_OUT)}\0".encode())
    total.update(python.read_bytes())
    total.update(inside(root, interpreter(python)).read_bytes())
    for path in sorted((root / "var/lib/dpkg/info").glob(f"lib{python.name}*.md5sums")):
        total.update(path.read_bytes())
    for path in (guest / "protocol.py", *sorted((guest / "agent").rglob("*.py"))):
        total.update(f"{path.relative_to(guest)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def _remove_leftovers(target: Path) -> None:
    for path in target.iterdir():
        if LEFTOVER_NAME.fullmatch(path.name):
            shutil.rmtree(path)
