"""An image pushed to the server's own registry, and from there to a sandbox."""

import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from tempfile import TemporaryFile
from typing import Any

import httpx

from moonpool.bench.builds import ARCHITECTURE, IMAGE, MEBIBYTE, write_layer
from moonpool.bench.figures import Figure, sample
from moonpool.bench.http import call, open_client
from moonpool.bench.server import RunningServer
from moonpool.ids import random_word

BAR = ">= 60 MB/s"
KIND = "application/vnd.oci.image"


class Pusher:
    """``layer`` is an open file; the registry is entered with ``login``."""

    def __init__(self, client: httpx.AsyncClient, given: dict[str, str], layer: Any) -> None:
        self._client, self._layer = client, layer
        self._login = (given["username"], given["secret"])
        self._name = f"{given['project']}/bench"
        self._address = f"{given['registryUrl']}/{self._name}"
        self._digest = hashlib.file_digest(layer, "sha256").hexdigest()

    async def push(self) -> float:
        """MB/s of a layer that is not there yet: the one before goes first."""
        await self._ask("DELETE", f"blobs/sha256:{self._digest}", allowed=404)
        started = time.perf_counter()
        await self._blob(self._content(), self._digest)
        return IMAGE / 1e6 / (time.perf_counter() - started)

    async def start(self) -> float:
        """MB/s from asking for a snapshot of an image that was not seen before to a sandbox of it that runs."""
        tag = await self._image()
        started = time.perf_counter()
        body = {"name": tag, "imageName": f"{self._address}:{tag}"}
        snapshot = (await call(self._client, "POST", "/api/snapshots", json=body))["id"]
        log = await self._client.get(f"/api/snapshots/{snapshot}/build-logs", params={"follow": "true"})
        log.raise_for_status()
        sandbox = (await call(self._client, "POST", "/api/sandbox", json={"snapshot": tag}))["id"]
        took = time.perf_counter() - started
        await call(self._client, "DELETE", f"/api/sandbox/{sandbox}")
        await call(self._client, "DELETE", f"/api/snapshots/{snapshot}")
        return IMAGE / 1e6 / took

    async def _image(self) -> str:
        """A new tag for a new image of the same layer."""
        tag = random_word(8)
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{self._digest}"]}
        platform = {"architecture": ARCHITECTURE[os.uname().machine], "os": "linux"}
        config = json.dumps({**platform, "config": {"Env": [f"RUN={tag}"]}, "rootfs": rootfs}).encode()
        digest = hashlib.sha256(config).hexdigest()
        await self._blob(config, digest)
        size = os.fstat(self._layer.fileno()).st_size
        layers = [{"mediaType": f"{KIND}.layer.v1.tar", "digest": f"sha256:{self._digest}", "size": size}]
        described = {"mediaType": f"{KIND}.config.v1+json", "digest": f"sha256:{digest}", "size": len(config)}
        manifest = json.dumps({"schemaVersion": 2, "config": described, "layers": layers})
        await self._ask(
            "PUT", f"manifests/{tag}", content=manifest, headers={"content-type": f"{KIND}.manifest.v1+json"}
        )
        return tag

    async def _blob(self, content: bytes | AsyncIterator[bytes], digest: str) -> None:
        place = (await self._ask("POST", "blobs/uploads/")).headers["location"]
        await self._ask("PATCH", place, content=content)
        await self._ask("PUT", f"{place}?digest=sha256:{digest}")

    async def _content(self) -> AsyncIterator[bytes]:
        self._layer.seek(0)
        while data := self._layer.read(MEBIBYTE):
            yield data

    async def _ask(self, method: str, path: str, allowed: int = 0, **options: Any) -> httpx.Response:
        url = path if path.startswith("/v2/") else f"/v2/{self._name}/{path}"
        answer = await self._client.request(method, url, auth=self._login, **options)
        if answer.status_code != allowed:
            answer.raise_for_status()
        return answer


async def push_figures(server: RunningServer, runs: int) -> list[Figure]:
    with TemporaryFile() as layer:
        write_layer(layer)
        layer.seek(0)
        async with open_client(server) as client:
            given = await call(client, "GET", "/api/docker-registry/registry-push-access")
            pusher = Pusher(client, given, layer)
            size = f"{IMAGE // MEBIBYTE} MiB"
            pushed = await sample(f"layer of {size} pushed to the server", runs, pusher.push, unit="MB/s")
            name = f"OCI image of {size} from the server's registry to a running sandbox, HTTP"
            return [pushed, await sample(name, runs, pusher.start, unit="MB/s", bar=BAR)]
