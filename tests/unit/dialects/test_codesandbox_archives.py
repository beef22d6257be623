"""Archives that the SDK uploads, as unzip reads them."""

import io
import os
import subprocess
import zipfile
from pathlib import Path

from moonpool.dialects.codesandbox.pitcher.archives import LEADING_OUT, UNPACKING, readable

WORKSPACE = "/project/workspace"


def archive(*names: str, system: int = 0) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = system, 0
            made.writestr(info, name)
    return data.getvalue()


def test_names_beyond_ascii_come_from_unix() -> None:
    names = ("plain.txt", "größe/", "größe/日本.txt")
    with zipfile.ZipFile(io.BytesIO(readable(archive(*names), WORKSPACE))) as read:
        infos = read.infolist()
        assert [info.filename for info in infos] == list(names)
        assert [info.create_system for info in infos] == [0, 3, 3]
        assert [info.external_attr >> 16 for info in infos] == [0o600, 0o042775, 0o100664]
        assert read.read("größe/日本.txt").decode() == "größe/日本.txt"


def test_what_is_no_such_archive_stays() -> None:
    for content in (b"", b"PK", b"PK\x05\x06", bytes(1000), archive("größe", system=3), archive("a")[:-30]):
        assert readable(content, WORKSPACE) == content
    torn = bytearray(archive("größe"))
    torn[-6:-2] = b"\xff\xff\xff\x7f"  # Where the directory is said to begin.
    assert readable(torn, WORKSPACE) == torn


def test_absolute_names_lead_where_they_say(tmp_path: Path) -> None:
    workspace = tmp_path / "project/workspace"
    workspace.mkdir(parents=True)
    names = (f"{tmp_path}/outside/a.txt", f"{workspace}/inside/größe.txt", "plain.txt", f"{tmp_path}/folder/")
    made = tmp_path / "batch.zip"
    made.write_bytes(readable(archive(*names), str(workspace)))
    command, environment = ["unzip", "-o", str(made)], {**os.environ, "LANG": "C.UTF-8", **LEADING_OUT}
    subprocess.run(command, cwd=workspace, env=environment, check=True, capture_output=True)
    assert (tmp_path / "outside/a.txt").read_text() == names[0]
    assert (workspace / "inside/größe.txt").read_text() == names[1]
    assert (workspace / "plain.txt").read_text() == "plain.txt"
    assert (tmp_path / "folder").is_dir()


def test_absolute_names_of_a_torn_archive_stay() -> None:
    torn = bytearray(archive("/a", "b"))
    torn[0:4] = b"PK\x00\x00"  # What stands before the first file.
    assert readable(torn, WORKSPACE) == torn


def test_the_command_that_takes_it_apart_is_known() -> None:
    assert UNPACKING.fullmatch("cd /project/workspace && unzip -o /tmp/batch_write_1.zip")
    assert not UNPACKING.fullmatch("cd / && rm -rf x && unzip -o /tmp/batch_write_1.zip")
