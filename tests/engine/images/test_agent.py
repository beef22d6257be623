"""The agent's folder: complete, its own master, and never half there."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import moonpool.guest
from moonpool.engine.images import Image, ensure_agent, prune_agents
from moonpool.engine.images.agent import inside, start_command
from moonpool.engine.images.elf import interpreter
from moonpool.errors import EngineError

GUEST = Path(next(iter(moonpool.guest.__path__)))
IMPORTS = "asyncio, ctypes, hashlib, hmac, json, mmap, socket, struct, subprocess, termios, zlib"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def folder(base: Image, target: Path) -> Path:
    return ensure_agent(base.path, target, GUEST)


def python(folder: Path, program: str) -> str:
    done = subprocess.run([*start_command(folder), "-c", program], capture_output=True, text=True, check=True, env={})
    return done.stdout.strip()


def test_its_python_has_what_the_agent_imports(folder: Path) -> None:
    assert python(folder, f"import {IMPORTS}; print(hashlib.sha256(b'').hexdigest()[:6])") == "e3b0c4"


def test_it_loads_nothing_from_outside_its_folder(folder: Path) -> None:
    program = f"import {IMPORTS}, sys; print(sys.prefix); print(open('/proc/self/maps').read())"
    prefix, _, maps = python(folder, program).partition("\n")
    assert prefix == str(folder)
    files = {line.split()[-1] for line in maps.splitlines() if line.split()[-1].startswith("/")}
    assert {path for path in files if ".so" in path and not path.startswith(str(folder))} == set()


def test_it_runs_where_there_is_nothing_else(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / ".agent", symlinks=True)
    command = ["chroot", str(tmp_path), *start_command(Path("/.agent")), "-c", f"import {IMPORTS}; print('runs')"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "runs\n"


def test_it_holds_the_agent_beside_its_protocol(folder: Path) -> None:
    assert (folder / "agent/__main__.py").read_bytes() == (GUEST / "agent/__main__.py").read_bytes()
    assert (folder / "agent/protocol.py").read_bytes() == (GUEST / "protocol.py").read_bytes()


def test_everything_is_compiled_and_read_only(folder: Path) -> None:
    assert (folder / "agent/__pycache__").is_dir()
    assert not [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o222]
    assert not list(folder.rglob("test")) + list(folder.rglob("idlelib")) + list(folder.rglob("ensurepip"))


def test_it_is_built_once(base: Image, target: Path, folder: Path) -> None:
    before = folder.stat().st_ctime_ns
    assert ensure_agent(base.path, target, GUEST) == folder
    assert folder.stat().st_ctime_ns == before


def test_two_builds_are_the_same(base: Image, folder: Path, tmp_path: Path) -> None:
    again = ensure_agent(base.path, tmp_path, GUEST)
    assert again.name == folder.name
    assert contents(again) == contents(folder)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_changed_agent_gets_a_folder_of_its_own(base: Image, folder: Path, tmp_path: Path) -> None:
    guest = tmp_path / "guest"
    shutil.copytree(GUEST, guest)
    with (guest / "agent/__main__.py").open("a") as file:
        file.write("# changed\n")
    assert ensure_agent(base.path, tmp_path, guest).name != folder.name


def test_nothing_is_written_outside_the_folder(base: Image, tmp_path: Path) -> None:
    """The image's loader names itself by an absolute path, which is the host's own loader's."""
    loader = Path(interpreter(Path("/usr/bin/env"))).resolve()
    before = loader.stat()
    ensure_agent(base.path, tmp_path, GUEST)
    assert loader.stat().st_mtime_ns == before.st_mtime_ns
    assert loader.stat().st_ino == before.st_ino


def test_what_a_crash_left_is_cleared_away(base: Image, folder: Path, tmp_path: Path) -> None:
    half = tmp_path / (folder.name + ".new")
    half.mkdir()
    (half / "half").touch()
    built = ensure_agent(base.path, tmp_path, GUEST)
    assert not (built / "half").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, "lock"])


def test_pruning_keeps_what_is_wanted_and_what_is_not_its_own(tmp_path: Path) -> None:
    for name in ("0" * 16, "1" * 16, "2" * 16 + ".old", "warm-0123456789abcdef"):
        (tmp_path / name / "lib").mkdir(parents=True)
    prune_agents(tmp_path, [tmp_path / ("0" * 16)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0" * 16, "lock", "warm-0123456789abcdef"]


def test_an_image_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no python3"):
        ensure_agent(tmp_path, tmp_path / "target", GUEST)


def test_links_are_followed_as_the_image_sees_them(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/file").touch()
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "absolute").symlink_to("/lib/file")
    (tmp_path / "upwards").symlink_to("../../../../lib/file")
    for name in ("/lib/file", "/absolute", "/upwards"):
        assert inside(tmp_path, name) == tmp_path / "usr/lib/file"
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(EngineError, match="symbolic links"):
        inside(tmp_path, "/circle")


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(EngineError, match="not a 64-bit"):
        interpreter(tmp_path / "script")
    assert os.path.isabs(interpreter(Path("/usr/bin/env")))
