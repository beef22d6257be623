"""Copying from one root file system into another, as a COPY or ADD of a Dockerfile says, by two contained programs.

Neither sees the other's folder, and both are shut into their own: a link in either leads nowhere else.
"""

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moonpool.engine.images.oci import contained
from moonpool.engine.images.oci.fetch import UNPACK
from moonpool.engine.images.oci.model import ImageLimits
from moonpool.errors import BuildInvalid, EngineError, ImageInvalid, ImageTooLarge

PACK = Path(__file__).with_name("pack.py")
NOT_READ = 32  # exit code of the one program when the other has stopped reading
KINDS: dict[str, type[EngineError] | type[ImageInvalid] | type[BuildInvalid] | type[ImageTooLarge]] = {
    "missing": BuildInvalid,
    "conflict": BuildInvalid,
    "invalid": ImageInvalid,
    "damaged": ImageInvalid,
    "too_large": ImageTooLarge,
}


@dataclass(frozen=True)
class Selection:
    """What is copied. ``patterns`` are paths from the source's root, with wildcards; ``owned``: owners are kept (they
    become root's otherwise); ``extract``: archives among the files are taken apart; ``mode`` of all files, or how it
    is changed ("u+x"); ``exclude``: patterns of what is left out; ``parents``: files keep the folders before them."""

    patterns: tuple[str, ...]
    owned: bool = False
    extract: bool = False
    mode: int | str | None = None
    exclude: tuple[str, ...] = ()
    parents: bool = False


@dataclass(frozen=True)
class Selected:
    """``digest`` (hexadecimal) of names, modes, owners and contents; ``single``: one file, which may get a new name."""

    digest: str
    entries: int
    single: bool


@dataclass(frozen=True)
class Placement:
    """Where it goes. ``target`` is absolute; ``as_file``: the one file becomes that path, unless there is a folder.
    ``owner`` is USER[:GROUP] as the target's own files have them; ``folders`` are made where they are missing.
    ``strict``: no folder takes the place of a file or a link, nor the other way round."""

    target: str = "/"
    as_file: bool = False
    owner: str | None = None
    folders: tuple[str, ...] = ()
    strict: bool = False


async def look(source: Path, selection: Selection, seconds: float) -> Selected:
    """What a selection is, without copying it. BuildInvalid where there is no such thing."""
    said: deque[bytes] = deque(maxlen=contained.LINES_KEPT)
    await _pack(source, selection, seconds, said, digest=True, output=None)
    return Selected(**_done(said))


async def copy(source: Path, selection: Selection, root: Path, placement: Placement, limits: ImageLimits) -> int:
    """How many bytes it was. BuildInvalid, ImageInvalid, ImageTooLarge; ``root`` is half filled then."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    packed: deque[bytes] = deque(maxlen=contained.LINES_KEPT)
    unpacked: deque[bytes] = deque(maxlen=contained.LINES_KEPT)

    async def pack() -> int:
        try:
            return await _pack(source, selection, limits.seconds, packed, digest=False, output=writing)
        finally:
            _close(writing)

    async def unpack() -> None:
        try:
            await _unpack(root, placement, limits, unpacked, [reading])
        finally:
            _close(reading)

    packing = asyncio.create_task(pack())
    unpacking = asyncio.create_task(unpack())
    try:
        await asyncio.gather(packing, unpacking)
    finally:
        for task in (packing, unpacking):
            task.cancel()
        await asyncio.gather(packing, unpacking, return_exceptions=True)
    if packing.result() != NOT_READ:
        _done(packed)
    return int(_done(unpacked)["bytes"])


async def unpack_archive(archive: Path, root: Path, limits: ImageLimits) -> int:
    """How many bytes it was: a plain tar archive, everything in it root's."""
    descriptor = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    said: deque[bytes] = deque(maxlen=contained.LINES_KEPT)
    try:
        await _unpack(root, Placement(owner="0:0"), limits, said, [descriptor])
    finally:
        _close(descriptor)
    return int(_done(said)["bytes"])


async def make_folders(root: Path, folders: Sequence[str], owner: str | None, limits: ImageLimits) -> int:
    """New ones belong to ``owner``. BuildInvalid where something else is in the place of one."""
    said: deque[bytes] = deque(maxlen=contained.LINES_KEPT)
    await _unpack(root, Placement(folders=tuple(folders), owner=owner, strict=True), limits, said, [])
    return int(_done(said)["bytes"])


async def _pack(
    source: Path, selection: Selection, seconds: float, said: "deque[bytes]", *, digest: bool, output: int | None
) -> int:
    order = {
        "root": f"{contained.PLACE}/image",
        "patterns": list(selection.patterns),
        "owned": selection.owned,
        "extract": selection.extract,
        "mode": selection.mode,
        "exclude": list(selection.exclude),
        "parents": selection.parents,
        "digest": digest,
    }
    shut = contained.shut_in(contained.WITHOUT_NETWORK, contained.BIND_ONLY, source)
    return await contained.run(
        (*shut, *contained.READ_CAPABILITIES, sys.executable, "-I", "-S", str(PACK)),
        stdin=json.dumps(order).encode(),
        seconds=seconds,
        on_line=said.append,
        output=output,
    )


async def _unpack(
    root: Path, placement: Placement, limits: ImageLimits, said: "deque[bytes]", descriptors: Sequence[int]
) -> None:
    unchecked = {"size": None, "digest": None, "diff_id": None, "compression": ""}
    order = {
        **vars(placement),
        "root": f"{contained.PLACE}/image",
        "layers": [{**unchecked, "descriptor": descriptor} for descriptor in descriptors],
        "unpacked": limits.unpacked,
        "files": limits.files,
    }
    shut = contained.shut_in(contained.WITHOUT_NETWORK, contained.BIND_ONLY, root)
    await contained.run(
        (*shut, *contained.FILE_CAPABILITIES, sys.executable, "-I", "-S", str(UNPACK)),
        stdin=json.dumps(order).encode(),
        seconds=limits.seconds,
        on_line=said.append,
        descriptors=descriptors,
    )


def _done(said: Sequence[bytes]) -> dict[str, Any]:
    for line in reversed(said):
        try:
            last = json.loads(line)
            if "done" in last:
                return dict(last["done"])
            error = KINDS[last["kind"]](last["error"])
        except (ValueError, KeyError, TypeError):
            continue
        raise error
    raise EngineError("Copying failed: " + b"\n".join(said).decode(errors="replace")[-1000:])


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)
