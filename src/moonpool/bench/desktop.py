"""A picture of the screen."""

import base64
import struct
from pathlib import Path

from moonpool.bench.figures import Figure, sample
from moonpool.bench.http import call, open_client, remove
from moonpool.bench.server import serving
from moonpool.engine.images import desktop_at_hand
from moonpool.hosts.settings import HostSettings

WIDTH, HEIGHT = 1280, 800
NAME = f"screenshot of {WIDTH} x {HEIGHT}, PNG, HTTP"
BAR = "<= 250 ms"
PNG = b"\x89PNG"
SIZE = struct.Struct(">II")  # of a PNG's first chunk, after 16 bytes
# Something to see: an empty screen is packed in no time.
WINDOW = "setsid stterm -g 100x30 -e top >/dev/null 2>&1 & xdotool search --sync --onlyvisible --class st-256color"


async def desktop_figures(data: Path, runs: int) -> list[Figure]:
    """Where the image is there: to build it takes minutes and gigabytes, and is no part of a measurement."""
    if not desktop_at_hand(HostSettings(data=data).cache):
        return [Figure(NAME, "ms", (), bar=f"{BAR}; not measured: no desktop image in the cache")]
    settings = {"MOONPOOL_DESKTOP": "true", "MOONPOOL_BASE_PACKAGES": ""}
    async with serving(data, 1, **settings) as server, open_client(server) as client:
        created = await call(client, "POST", "/api/sandbox", json={"snapshot": "daytona-desktop"})
        toolbox = f"/toolbox/{created['id']}"

        async def shot() -> None:
            answer = await call(client, "GET", f"{toolbox}/computeruse/screenshot")
            picture = base64.b64decode(answer["screenshot"])
            if not picture.startswith(PNG) or SIZE.unpack_from(picture, 16) != (WIDTH, HEIGHT):
                raise RuntimeError("This is no such picture")

        try:
            await call(client, "POST", f"{toolbox}/computeruse/start")
            await call(client, "POST", f"{toolbox}/process/execute", json={"command": WINDOW})
            await shot()
            return [await sample(NAME, runs, shot, bar=BAR)]
        finally:
            await remove(client, created["id"])
