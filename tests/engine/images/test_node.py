import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from moonpool.engine.images import node
from moonpool.engine.images.recipe import NodePackage
from moonpool.errors import EngineError


def packed(files: dict[str, str], *, mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), mode
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def integrity_of(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def place(downloads: Path, content: bytes, integrity: str) -> NodePackage:
    downloads.mkdir()
    (downloads / "tool-1.0.0.tgz").write_bytes(content)
    return NodePackage("tool", "1.0.0", integrity, "tool")


def test_a_package_is_unpacked_without_its_documentation(tmp_path: Path) -> None:
    content = packed({"package/index.js": "code", "package/docs/guide.md": "text", "package/lib/docs.js": "code"})
    package = place(tmp_path / "downloads", content, integrity_of(content))
    node.install(package, tmp_path / "modules", tmp_path / "downloads")
    found = sorted(path.relative_to(tmp_path / "modules") for path in (tmp_path / "modules").rglob("*.*"))
    assert [str(path) for path in found] == ["tool/index.js", "tool/lib/docs.js"]


def test_programs_stay_programs(tmp_path: Path) -> None:
    content = packed({"package/bin/tool": "#!/bin/sh"}, mode=0o755)
    package = place(tmp_path / "downloads", content, integrity_of(content))
    node.install(package, tmp_path / "modules", tmp_path / "downloads")
    assert (tmp_path / "modules/tool/bin/tool").stat().st_mode & 0o777 == 0o755


def test_a_package_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    content = packed({"package/../../../escaped": "code"})
    package = place(tmp_path / "downloads", content, integrity_of(content))
    with pytest.raises(EngineError, match="escaped"):
        node.install(package, tmp_path / "modules", tmp_path / "downloads")
    assert not (tmp_path / "escaped").exists()


def test_what_does_not_match_its_pin_is_not_used(tmp_path: Path) -> None:
    content = packed({"package/index.js": "code"})
    assert node.matches(content, integrity_of(content))
    assert not node.matches(content + b"x", integrity_of(content))


def test_a_registry_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    package = NodePackage("no-such-package-of-moonpool", "0.0.0", integrity_of(b""), "tool")
    with pytest.raises(EngineError, match=r"Cannot fetch https://registry\.npmjs\.org/no-such-package-of-moonpool"):
        node.install(package, tmp_path / "modules", tmp_path / "downloads")
