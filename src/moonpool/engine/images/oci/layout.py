"""What an OCI layout says it holds: every document is checked against its digest before it is believed."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moonpool.engine.images.oci.model import ImageConfig, ImageLimits, Stored
from moonpool.engine.images.oci.reference import DIGEST
from moonpool.errors import ImageInvalid, ImageNotFound, ImageTooLarge

MAX_DOCUMENT = 4 << 20  # bytes
MAX_LAYERS = 500
COMPRESSIONS = {"tar": "", "tar+gzip": "gzip", "tar.gzip": "gzip", "tar+zstd": "zstd", "tar.zstd": "zstd"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Layer:
    """``digest`` and ``diff_id`` are SHA-256 in hexadecimal; ``compression`` "", "gzip" or "zstd"."""

    digest: str
    diff_id: str
    size: int
    compression: str


@dataclass(frozen=True)
class Layout:
    """One image; its parts lie in the folder ``blobs``, named by their digests."""

    blobs: Path
    config: ImageConfig
    layers: tuple[Layer, ...]

    def open_layer(self, layer: Layer) -> int:
        """A descriptor; ImageInvalid."""
        return open_blob(self.blobs, layer.digest)


def architecture() -> str:
    """This machine's, in the words of images."""
    return ARCHITECTURES.get(os.uname().machine, os.uname().machine)


def read_layout(folder: Path, limits: ImageLimits) -> Layout:
    """The image for this machine. ImageInvalid, ImageNotFound (none for this machine), ImageTooLarge."""
    blobs = folder / "blobs" / "sha256"
    index = parsed(read_small(os.open(folder / "index.json", FILE_FLAGS)))
    return layout_of(blobs, manifest_of(blobs, index), limits)


def read_stored(stored: Stored, limits: ImageLimits) -> Layout:
    """The image for this machine. ImageInvalid, ImageNotFound (none for this machine), ImageTooLarge."""
    document = blob(stored.blobs, {"digest": f"sha256:{stored.digest}"})
    manifest = manifest_of(stored.blobs, document) if "manifests" in document else document
    return layout_of(stored.blobs, manifest, limits)


def read_copy(folder: Path, limits: ImageLimits) -> Layout:
    """An image as skopeo's ``dir:`` has it, whose documents are the registry's own: an OCI layout would have lost what
    Docker's images say beyond OCI's (HEALTHCHECK, SHELL, ONBUILD). ImageInvalid, ImageTooLarge."""
    return layout_of(folder, parsed(read_small(os.open(folder / "manifest.json", FILE_FLAGS))), limits)


def layout_of(blobs: Path, manifest: Mapping[str, Any], limits: ImageLimits) -> Layout:
    return described_by(blobs, manifest, blob(blobs, manifest.get("config")), limits)


def described_by(blobs: Path, manifest: Mapping[str, Any], document: Mapping[str, Any], limits: ImageLimits) -> Layout:
    """``document`` is the configuration, whole. ImageInvalid, ImageTooLarge."""
    described = listed(manifest.get("layers"))
    diff_ids = listed(table(document.get("rootfs")).get("diff_ids"))
    if len(described) != len(diff_ids) or len(described) > MAX_LAYERS:
        raise ImageInvalid("The image's manifest and configuration do not name the same layers")
    layers = tuple(layer_of(table(entry), diff) for entry, diff in zip(described, diff_ids, strict=True))
    if sum(layer.size for layer in layers) > limits.download:
        raise ImageTooLarge(f"The image is larger than {limits.download} bytes", hint="Use a smaller image.")
    return Layout(blobs, ImageConfig.of(table(document.get("config"))), layers)


def manifest_of(blobs: Path, index: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """The manifest that suits this machine, also out of an index in an index."""
    entries = [table(entry) for entry in listed(index.get("manifests"))]
    wanted = [entry for entry in entries if suits(table(entry.get("platform")))]
    for entry in wanted:
        document = blob(blobs, entry)
        if "layers" in document:
            return document
        if "manifests" in document and depth < 2:
            return manifest_of(blobs, document, depth + 1)
    raise ImageNotFound(f"The image has no variant for linux/{architecture()}")


def suits(platform: Mapping[str, Any]) -> bool:
    return (platform.get("os", "linux"), platform.get("architecture", architecture())) == ("linux", architecture())


def layer_of(described: Mapping[str, Any], diff_id: object) -> Layer:
    name = str(described.get("mediaType", ""))
    kind = next((each for each in COMPRESSIONS if name.endswith(f".{each}")), name)
    digest, size = described.get("digest"), described.get("size")
    if kind not in COMPRESSIONS:
        raise ImageInvalid(f"A layer is of an unknown kind: {str(described.get('mediaType'))[:100]!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ImageInvalid("A layer's size is missing")
    return Layer(hexadecimal(digest), hexadecimal(diff_id), size, COMPRESSIONS[kind])


def blob(blobs: Path, described: object) -> Mapping[str, Any]:
    digest = hexadecimal(table(described).get("digest"))
    data = read_small(open_blob(blobs, digest))
    if hashlib.sha256(data).hexdigest() != digest:
        raise ImageInvalid("A part of the image is not what its digest says", hint="Fetch or make it again.")
    return parsed(data)


def open_blob(blobs: Path, digest: str) -> int:
    try:
        return os.open(blobs / digest, FILE_FLAGS)
    except OSError as error:
        raise ImageInvalid(f"The image lacks its part {digest[:12]}: {error.strerror}") from error


def read_small(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        data = file.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ImageInvalid(f"A document of the image is larger than {MAX_DOCUMENT} bytes")
    return data


def parsed(data: bytes) -> Mapping[str, Any]:
    try:
        return table(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ImageInvalid("A document of the image is not JSON") from error


def hexadecimal(digest: object) -> str:
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ImageInvalid(f"Not a SHA-256 digest: {str(digest)[:80]!r}")
    return digest.removeprefix("sha256:")


def table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
