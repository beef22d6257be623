"""Images and builds: how fast an image comes in, what a step costs, and what the cache saves."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import IO, Any

import httpx

from moonpool.bench.baseline import plain
from moonpool.bench.engine import SMALL, specification
from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.http import call, open_client
from moonpool.bench.server import RunningServer
from moonpool.builds.machine import BuildMachines, Command
from moonpool.builds.model import BuildLimits
from moonpool.engine.images.oci import Archive, ImageConfig
from moonpool.hosts.host import Host
from moonpool.ids import new_uuid, random_word

MEBIBYTE = 1 << 20
IMAGE = 300 * MEBIBYTE
FILES = 30  # in the image
STEPS = 10  # of RUN true
LONG = 20  # steps of the file whose last one is edited
TRUE = Command(("true",), ImageConfig(), {}, network=False, shown="RUN true")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


def silent(_text: str) -> None:
    """Nobody reads what builds say here."""


# -- the engine alone --------------------------------------------------------------------------------------------------


async def engine_figures(host: Host, data: Path, runs: int) -> list[Figure]:
    """``data`` is the host's folder."""
    return [await _imports(host, data, max(2, runs // 20)), *await _steps(host, max(2, runs // 20))]


async def _imports(host: Host, data: Path, runs: int) -> Figure:
    folder = data / "bench-image"
    _write_layout(folder)

    async def bring_in() -> float:
        """MB/s from the image to a sandbox that runs."""
        layer, started = new_uuid(), time.perf_counter()
        await host.layers.fetch(Archive(folder), layer, silent)
        spec = specification(f"layers/{layer}")
        await host.create(spec)
        took = time.perf_counter() - started
        await host.destroy(spec.id)
        await host.layers.forget(layer)
        return IMAGE / 1e6 / took

    try:
        name = f"OCI image of {IMAGE // MEBIBYTE} MiB to a running sandbox"
        return await sample(name, runs, bring_in, unit="MB/s", bar=">= 60 MB/s")
    finally:
        shutil.rmtree(folder)


async def _steps(host: Host, runs: int) -> list[Figure]:
    """Each step stands on the one before, as in a build."""
    machines = BuildMachines(host, host.layers, BuildLimits(SMALL))
    base = new_uuid()
    spec = specification()
    await host.create(spec)
    await host.stop(spec.id)
    await host.layers.keep(spec.id, base)
    await host.destroy(spec.id)

    async def ten() -> None:
        made = [base]
        for _ in range(STEPS):
            made.append(new_uuid())
            await machines.run(made[-2], made[-1], TRUE, silent)
        for layer in made[1:]:
            await host.layers.forget(layer)

    async def ten_plain() -> None:
        for _ in range(STEPS):
            await plain("true")

    try:
        beside = await sample(f"{STEPS} plain runsc do true", runs, ten_plain)
        return [beside, await sample(f"{STEPS} RUN of true", runs, ten, bar="p50 <= 3 x the plain ones")]
    finally:
        await host.layers.forget(base)


def write_layer(file: IO[bytes]) -> None:
    """A tar archive of random files."""
    size = IMAGE // FILES
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(FILES):
            member = tarfile.TarInfo(f"data/{number}")
            member.size = size
            archive.addfile(member, io.BytesIO(os.urandom(size)))


def _write_layout(folder: Path) -> None:
    """Files that no compression makes smaller, in one layer."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    layer = folder / "layer"
    with open(layer, "wb") as fresh:
        write_layer(fresh)
    with open(layer, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    described = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{digest}"}
    described["size"] = layer.stat().st_size  # type: ignore[assignment]
    layer.rename(blobs / digest)

    def blob(document: Any, kind: str) -> dict[str, Any]:
        text = json.dumps(document).encode()
        name = hashlib.sha256(text).hexdigest()
        (blobs / name).write_bytes(text)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(text)}

    platform = {"architecture": ARCHITECTURE[os.uname().machine], "os": "linux"}
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    config = blob({**platform, "config": {}, "rootfs": rootfs, "history": []}, "config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": [described]}
    index = {"schemaVersion": 2, "manifests": [blob(manifest, "manifest.v1+json")]}
    (folder / "index.json").write_text(json.dumps(index))


# -- through HTTP ------------------------------------------------------------------------------------------------------


async def http_figures(server: RunningServer, runs: int) -> list[Figure]:
    """With a Dockerfile that needs no registry: nothing is inside but what it says."""
    async with open_client(server) as client:
        cached = dockerfile(random_word(8))
        await _vm(client, cached)
        plain_ones = await sample("create, Freestyle's requests", runs, lambda: _create(client, None))
        name, bar = "create from a cached Dockerfile, Freestyle's requests", "p50 <= 1.5 x the plain ones"
        from_cache = await sample(name, runs, lambda: _create(client, cached), bar=bar)
        name = f"steps made anew after an edit of the last of {LONG}"
        again = await sample(name, 2, lambda: _edit(client), unit="steps", bar="1")
    return [plain_ones, from_cache, again]


def dockerfile(last: str) -> str:
    steps = [f"COPY <<EOF /step-{number}\n{number}\nEOF" for number in range(LONG - 1)]
    return "\n".join(["FROM scratch", *steps, f"COPY <<EOF /last\n{last}\nEOF"])


async def _create(client: httpx.AsyncClient, text: str | None) -> float:
    return (await _vm(client, text))[0]


async def _vm(client: httpx.AsyncClient, text: str | None) -> tuple[float, str | None]:
    """Made and removed: the milliseconds of the one, and the build that it stands on."""
    body = {} if text is None else {"baseImage": {"dockerfileContent": text}}
    started = time.perf_counter()
    vm = (await call(client, "POST", "/v1/vms", json=body))["id"]
    took = milliseconds_since(started)
    build = None if text is None else (await call(client, "GET", f"/v1/vms/{vm}/build"))["buildId"]
    await call(client, "DELETE", f"/v1/vms/{vm}")
    return took, build


async def _edit(client: httpx.AsyncClient) -> float:
    _, build = await _vm(client, dockerfile(random_word(8)))
    phases = (await call(client, "GET", f"/v1/vms/builds/{build}/phases"))["phases"]
    return sum(1 for phase in phases if "] COPY" in phase["name"] and not phase["name"].endswith("(cached)"))
