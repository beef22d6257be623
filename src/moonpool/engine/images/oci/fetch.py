"""From a reference to a layout on disk (by skopeo), and from a layout to a root file system (by ``unpack.py``)."""

import asyncio
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from moonpool.engine.images.oci import contained, skopeo
from moonpool.engine.images.oci.layout import Layout, read_copy, read_layout
from moonpool.engine.images.oci.model import Archive, FetchPolicy, ImageConfig, ImageLimits, Source
from moonpool.errors import EngineError, ImageInvalid, ImageTooLarge

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
        layout = await self._layout(source, say)
        say(f"Unpacking {len(layout.layers)} layers, {sum(layer.size for layer in layout.layers)} bytes")
        return await self._unpack(layout)

    async def _layout(self, source: Source, say: Say) -> Layout:
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

    async def _unpack(self, layout: Layout) -> Fetched:
        said: deque[bytes] = deque(maxlen=contained.LINES_KEPT)
        with ExitStack() as stack:
            layers = []
            for layer in layout.layers:
                descriptor = layout.open_layer(layer)
                stack.callback(os.close, descriptor)
                layers.append({**vars(layer), "descriptor": descriptor})
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
                descriptors=[layer["descriptor"] for layer in layers],
            )
        return _outcome(layout, said)


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
