"""Images made by hand, as OCI layouts, so that tests need no registry and can make what no tool would."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moonpool.engine.images.recipe import base_recipe
from moonpool.hosts.settings import HostSettings

CACHE = Path.home() / ".cache" / "moonpool-tests" / "packages"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
COMMANDS = "sh ls cat echo id pwd env sleep touch mkdir grep stat true false dd rm chown chmod tar ln cp mkfifo date"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass
class Entry:
    """A member of a layer; ``kind`` is a type of ``tarfile``."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    owner: tuple[int, int] = (0, 0)
    xattrs: dict[str, str] = field(default_factory=dict)

    def member(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.name)
        info.type, info.mode, info.linkname, info.size = self.kind, self.mode, self.link, len(self.content)
        info.uid, info.gid = self.owner
        info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in self.xattrs.items()}
        return info


def folder(name: str, mode: int = 0o755) -> Entry:
    return Entry(name, mode=mode, kind=tarfile.DIRTYPE)


def link(name: str, target: str) -> Entry:
    return Entry(name, mode=0o777, kind=tarfile.SYMTYPE, link=target)


def tarred(entries: Iterable[Entry]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            archive.addfile(entry.member(), io.BytesIO(entry.content))
    return data.getvalue()


class LayoutWriter:
    """An OCI layout in a folder, of one image or of an index of several."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def image(
        self,
        *layers: Iterable[Entry] | bytes,
        config: dict[str, Any] | None = None,
        architecture: str = ARCHITECTURE,
        compress: Callable[[bytes], bytes] | None = gzip.compress,
        kind: str | None = None,
        diffs: Sequence[str] = (),
        change: Callable[[dict[str, Any]], None] = lambda manifest: None,
    ) -> dict[str, Any]:
        """The descriptor of a manifest; ``change`` may spoil it first. ``diffs`` are the digests of the layers before
        they were compressed, where they come so."""
        described, diff_ids = [], [f"sha256:{digest}" for digest in diffs]
        for layer in layers:
            data = layer if isinstance(layer, bytes) else tarred(layer)
            if not diffs:
                diff_ids.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
            stored, name = (data, LAYER) if compress is None else (compress(data), f"{LAYER}+gzip")
            described.append(self.blob(stored, kind or name))
        document = {
            "architecture": architecture,
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": described,
        }
        change(manifest)
        platform = {"architecture": architecture, "os": "linux"}
        return {**self.blob(json.dumps(manifest).encode(), MANIFEST), "platform": platform}

    def finish(self, *manifests: dict[str, Any], tag: str = "image") -> Path:
        noted = [{**each, "annotations": {"org.opencontainers.image.ref.name": tag}} for each in manifests]
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": noted}))
        return self.path


def layout(path: Path, *layers: Iterable[Entry] | bytes, **settings: Any) -> Path:
    """The simplest one: an image."""
    writer = LayoutWriter(path)
    return writer.finish(writer.image(*layers, **settings))


def debian_package(name: str) -> Path:
    """The files of a Debian package in a folder, fetched once."""
    target = CACHE / name
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = CACHE / f"{name}.new"
        options = ["-o", "APT::Sandbox::User=root"]
        subprocess.run(["apt-get", "download", *options, name], cwd=CACHE, check=True, stdout=subprocess.DEVNULL)
        (package,) = CACHE.glob(f"{name}_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, fresh], check=True)
        package.unlink()
        fresh.rename(target)
    return target


def debian(path: Path) -> Path:
    """The base image of sandboxes as an image of its own: Debian with Python and Node."""
    archive = HostSettings(data=path).cache / f"base-{base_recipe().digest[:16]}.tar.zst"
    digest = hashlib.sha256()
    with subprocess.Popen(["zstd", "--quiet", "-dc", archive], stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        while piece := unpacking.stdout.read(1 << 20):
            digest.update(piece)
    writer = LayoutWriter(path)
    packed = archive.read_bytes()
    return writer.finish(
        writer.image(packed, config={"Cmd": ["bash"]}, compress=None, kind=f"{LAYER}+zstd", diffs=[digest.hexdigest()])
    )


def busybox() -> list[Entry]:
    """A root with a static shell and its commands."""
    program = (debian_package("busybox-static") / "bin" / "busybox").read_bytes()
    names = COMMANDS.split()
    return [
        *(folder(name) for name in ("bin", "etc", "root", "tmp")),
        Entry("bin/busybox", program, 0o755),
        *(link(f"bin/{name}", "busybox") for name in names),
        Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
        Entry("etc/group", b"root:x:0:\napp:x:1000:\n"),
        Entry("home/app", mode=0o755, kind=tarfile.DIRTYPE, owner=(1000, 1000)),
    ]


def musl() -> list[Entry]:
    """As Alpine is: the loader and the C library are musl's."""
    files = debian_package("musl") / "lib"
    libraries = [Entry(f"lib/{path.relative_to(files)}", path.read_bytes(), 0o755) for path in files.glob("*/*.so")]
    loaders = [link(f"lib/{path.name}", os.readlink(path)) for path in files.glob("ld-musl-*")]
    return [*busybox(), folder("lib"), *libraries, *loaders, Entry("etc/os-release", b"ID=alpine\nNAME=Alpine\n")]
