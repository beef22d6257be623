"""From a reference to the parts of an image (by skopeo), and from those to a root file system (by ``unpack.py``)."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from moonpool.engine.images.oci import contained, skopeo
from moonpool.engine.images.oci.layout import (
    Layout,
    described_by,
    hexadecimal,
    parsed,
    read_copy,
    read_layout,
    read_stored,
    table,
)
from moonpool.engine.images.oci.model import Archive, FetchPolicy, ImageConfig, ImageLimits, Registry, Source, Stored
from moonpool.engine.images.oci.proxy import BROKEN_PIPE, Lost, Proxy
from moonpool.errors import EngineError, ImageInvalid, ImageTooLarge, ImageUnavailable

LAYOUT = "layout"
ARCHIVE = "archive.tar"
UNPACK = Path(__file__).with_name("unpack.py")

Say = Callable[[str], None]
"""Called with what is being done, a line each."""


@dataclass(frozen=True)
class Fetched:
    """What an image is once its files are in their folder; ``bytes`` of all files."""

    config: ImageConfig
    bytes: int
    files: int


@dataclass(frozen=True)
class Fetching:
    """``work`` is an empty folder for what is downloaded, ``root`` one for the files of the image. Both are best given
    a limit on what they may take; either is half filled after a failure."""

    work: Path
    root: Path
    policy: FetchPolicy
    limits: ImageLimits

    async def run(self, source: Source, say: Say) -> Fetched:
        """ImageNotFound, ImageUnauthorized, ImageForbidden, ImageInvalid, ImageTooLarge, ImageUnavailable,
        ImageTimeout."""
        contained.require_tools()
        if isinstance(source, Registry):
            with contextlib.suppress(Lost):  # A skopeo that cannot do this writes the image to a folder first.
                return await self._stream(source, say)
        layout = await self._layout(source, say)
        say(unpacking(layout))
        with ExitStack() as stack:
            descriptors = []
            for layer in layout.layers:
                descriptors.append(layout.open_layer(layer))
                stack.callback(os.close, descriptors[-1])
            return await self._unpack(layout, descriptors, None)

    async def _stream(self, source: Registry, say: Say) -> Fetched:
        """Unpacked as it comes. Lost: nothing has come."""
        os.chown(self.work, int(contained.NOBODY), int(contained.NOBODY))
        say(f"Fetching {source.reference.name}")
        async with skopeo.streaming(source, self.work, self.policy, self.limits.seconds) as proxy:
            await proxy.begin()
            try:
                await proxy.open(source.reference.name)
                layout = await self._described(proxy, source)
                say(unpacking(layout))
                return await self._unpack_streams(layout, proxy)
            except Lost as error:
                raise ImageUnavailable(f"Fetching {source.reference.name} ended: {error}") from error

    async def _described(self, proxy: Proxy, source: Registry) -> Layout:
        """By the registry's own documents: what skopeo makes of Docker's lacks what OCI's do not have."""
        data, digest = await proxy.manifest()
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            data = await skopeo.manifest(replace(source, reference=source.reference.at(digest)), self.policy)
        manifest = parsed(data)
        config = table(manifest.get("config"))
        size = config.get("size")
        document = await proxy.document(hexadecimal(config.get("digest")), size if isinstance(size, int) else 0)
        return described_by(self.work, manifest, parsed(document), self.limits)

    async def _unpack_streams(self, layout: Layout, proxy: Proxy) -> Fetched:
        ours, theirs = socket.socketpair()

        async def feed() -> None:
            with ours:
                for layer in layout.layers:
                    await proxy.hand_over(layer.digest, layer.size, ours)

        async def unpack() -> Fetched:
            with theirs:
                return await self._unpack(layout, [], theirs.fileno())

        feeding, filling = asyncio.create_task(feed()), asyncio.create_task(unpack())
        try:
            await asyncio.wait([feeding, filling])
        finally:
            for task in (feeding, filling):
                task.cancel()
            await asyncio.gather(feeding, filling, return_exceptions=True)
        trouble = feeding.exception()
        if trouble is not None and not (BROKEN_PIPE in str(trouble) and filling.exception()):
            raise trouble
        return filling.result()

    async def _layout(self, source: Source, say: Say) -> Layout:
        if isinstance(source, Stored):
            return await asyncio.to_thread(read_stored, source, self.limits)
        if isinstance(source, Archive) and source.path.is_dir():
            return await asyncio.to_thread(read_layout, source.path, self.limits)
        os.chown(self.work, int(contained.NOBODY), int(contained.NOBODY))
        if isinstance(source, Archive):
            await asyncio.to_thread(self._bring, source.path)
            kind = "docker-archive" if source.docker else "oci-archive"
            await skopeo.convert(kind, ARCHIVE, self.work, LAYOUT, self.limits.seconds, say)
        else:
            say(f"Fetching {source.reference.name}")
            await skopeo.copy(source, self.work, LAYOUT, self.policy, self.limits.seconds, say)
        return await asyncio.to_thread(read_copy, self.work / LAYOUT, self.limits)

    def _bring(self, archive: Path) -> None:
        """To where skopeo, which may read nothing else, can read it."""
        try:
            if archive.stat().st_size > self.limits.download:
                raise ImageTooLarge(f"The archive is larger than {self.limits.download} bytes")
            shutil.copyfile(archive, self.work / ARCHIVE)
            (self.work / ARCHIVE).chmod(0o444)
        except OSError as error:
            raise EngineError(f"Cannot read {archive}: {error.strerror}") from error

    async def _unpack(self, layout: Layout, descriptors: Sequence[int], sender: int | None) -> Fetched:
        """Layers are there already, or their descriptors come over the socket ``sender``."""
        said: deque[bytes] = deque(maxlen=contained.LINES_KEPT)
        given: Sequence[int | None] = descriptors or [None] * len(layout.layers)
        layers = [
            {**vars(layer), "descriptor": descriptor, "socket": sender}
            for layer, descriptor in zip(layout.layers, given, strict=True)
        ]
        order = {
            "root": f"{contained.PLACE}/image",
            "layers": layers,
            "unpacked": self.limits.unpacked,
            "files": self.limits.files,
        }
        shut = contained.shut_in(contained.WITHOUT_NETWORK, contained.BIND_ONLY, self.root)
        await contained.run(
            (*shut, *contained.FILE_CAPABILITIES, sys.executable, "-I", "-S", str(UNPACK)),
            stdin=json.dumps(order).encode(),
            seconds=self.limits.seconds,
            on_line=said.append,
            descriptors=[*descriptors, *([] if sender is None else [sender])],
        )
        return _outcome(layout, said)


def unpacking(layout: Layout) -> str:
    return f"Unpacking {len(layout.layers)} layers, {sum(layer.size for layer in layout.layers)} bytes"


def _outcome(layout: Layout, said: Sequence[bytes]) -> Fetched:
    for line in reversed(said):
        try:
            last = json.loads(line)
            if "done" in last:
                return Fetched(layout.config, last["done"]["bytes"], last["done"]["files"])
            kind = ImageTooLarge if last["kind"] == "too_large" else ImageInvalid
            error = kind(last["error"])
        except (ValueError, KeyError, TypeError):
            continue  # Not of ours: a line of Python's own, say.
        raise error
    raise EngineError("Unpacking the image failed: " + b"\n".join(said).decode(errors="replace")[-1000:])
