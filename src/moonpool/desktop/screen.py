"""What is on the screen."""

import contextlib
import re

from moonpool.desktop.errors import DesktopFailed
from moonpool.desktop.inside import source
from moonpool.desktop.model import Picture, PictureFormat, Point, Region, Screenshot, Size, Window
from moonpool.desktop.programs import attempt, run
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import AgentSession

# Of wmctrl -lG: id, desktop, x, y, width, height, host, title.
WINDOW = re.compile(r"(0x[0-9a-f]+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(\d+)\s+(\d+)\s+\S+ ?(.*)")
SMALLEST_SCALE = 0.1
WHERE = ("getmouselocation", "--shell")


class Screen:
    def __init__(self, session: AgentSession) -> None:
        self._session = session

    async def size(self) -> Size:
        """DesktopNotStarted, as all others."""
        width, height = (await run(self._session, "xdotool", "getdisplaygeometry")).split()
        return Size(int(width), int(height))

    async def windows(self) -> tuple[Window, ...]:
        listed = (await run(self._session, "wmctrl", "-lG")).decode(errors="replace")
        active = await attempt(self._session, ("xdotool", "getactivewindow"))
        focused = int(active.stdout) if not active.exit_code and active.stdout.strip().isdigit() else None
        return tuple(window_of(line, focused) for line in listed.splitlines() if WINDOW.match(line))

    async def picture(self, wanted: Picture) -> Screenshot:
        """InvalidInput for a region that is not wholly on the screen."""
        check(wanted)
        if wanted.region is not None:
            await self._check(wanted.region)
        command = ["maim", *([] if wanted.cursor else ["--hidecursor"])]
        if region := wanted.region:
            command.append(f"--geometry={region.width}x{region.height}+{region.x}+{region.y}")
        if wanted.format is PictureFormat.PNG and wanted.scale == 1:
            data = await run(self._session, *command, "--format=png", "--quality=2")
        else:
            options = (wanted.format, str(wanted.quality), str(wanted.scale))
            data = await run(self._session, "python3", "-c", source("picture.py"), *options, *command)
        if not data:
            raise DesktopFailed("There is no picture")
        return Screenshot(data, await self.pointer() if wanted.cursor else None)

    async def pointer(self) -> Point:
        return place(await run(self._session, "xdotool", *WHERE))

    async def _check(self, region: Region) -> None:
        size = await self.size()
        inside = region.x >= 0 and region.y >= 0 and region.width > 0 and region.height > 0
        if not inside or region.x + region.width > size.width or region.y + region.height > size.height:
            raise InvalidInput(f"The screen has {size.width} x {size.height} pixels", field="width")


def check(wanted: Picture) -> None:
    if not 1 <= wanted.quality <= 100:
        raise InvalidInput("quality must be from 1 to 100", field="quality")
    if not SMALLEST_SCALE <= wanted.scale <= 1:
        raise InvalidInput(f"scale must be from {SMALLEST_SCALE} to 1", field="scale")


def window_of(line: str, focused: int | None) -> Window:
    found = WINDOW.match(line)
    assert found is not None
    number, _desktop, x, y, width, height, title = found.groups()
    window = int(number, 16)
    return Window(window, title, Region(int(x), int(y), int(width), int(height)), window == focused)


def place(output: bytes) -> Point:
    """Of xdotool's lines X=, Y=, SCREEN=, WINDOW=."""
    values = dict(line.split("=", 1) for line in output.decode().splitlines() if "=" in line)
    with contextlib.suppress(KeyError, ValueError):
        return Point(int(values["X"]), int(values["Y"]))
    raise DesktopFailed("xdotool did not say where the pointer is")
