"""The desktop as it is asked about and changed. Lengths and places in pixels from the upper left corner."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

RESOLUTION = "VNC_RESOLUTION"  # a variable of the sandbox: WIDTHxHEIGHT
WIDTH, HEIGHT = 1280, 800  # otherwise
LEAST, MOST = 200, 8192  # pixels a side
DISPLAY = ":0"
FOLDER = "/tmp/.desktop"  # noqa: S108 - inside a sandbox, made with a mode of its own
BUS = f"unix:path={FOLDER}/bus"
# dconf replaces its file while programs have it open, and open deleted files keep a sandbox's memory from being saved.
ENVIRONMENT = {
    "DISPLAY": DISPLAY,
    "DBUS_SESSION_BUS_ADDRESS": BUS,
    "NO_AT_BRIDGE": "0",
    "GTK_A11Y": "atspi",
    "GSETTINGS_BACKEND": "memory",
}
VNC_PORT = 5901  # on loopback, for the program below
BROWSER_PORT = 6080  # noVNC's pages: /vnc.html


class Part(StrEnum):
    """The desktop's processes, in the order in which they need each other."""

    SCREEN = "screen"
    SESSION = "session"
    VNC = "vnc"
    BROWSER = "browser"


# Whom each cannot go on without: their end is its own, or leaves it without what it shows.
NEEDS = {
    Part.SCREEN: (),
    Part.SESSION: (Part.SCREEN,),
    Part.VNC: (Part.SCREEN,),
    Part.BROWSER: (),
}
COMMANDS = {
    Part.SCREEN: (
        f"rm -f /tmp/.X0-lock /tmp/.X11-unix/X0;"
        f' exec Xvfb {DISPLAY} -screen 0 "${{{RESOLUTION}:-{WIDTH}x{HEIGHT}}}x24" -nolisten tcp -noreset -displayfd 1'
    ),
    # The bus prints its address once it listens.
    Part.SESSION: (
        f"rm -f {FOLDER}/bus; dbus-daemon --session --address={BUS} --nofork --nopidfile --print-address |"
        " { read -r _; /usr/libexec/at-spi-bus-launcher --launch-immediately & exec openbox; }"
    ),
    Part.VNC: (
        f"exec x11vnc -display {DISPLAY} -rfbport {VNC_PORT} -localhost -forever -shared -nopw -noxdamage -quiet"
    ),
    Part.BROWSER: f"exec websockify --web /usr/share/novnc {BROWSER_PORT} localhost:{VNC_PORT}",
}
"""Standard output of the screen says when it is ready."""


class Button(StrEnum):
    LEFT = "left"
    MIDDLE = "middle"
    RIGHT = "right"


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    LEFT = "left"
    RIGHT = "right"


class PictureFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


@dataclass(frozen=True)
class Point:
    x: int
    y: int


@dataclass(frozen=True)
class Size:
    width: int
    height: int


@dataclass(frozen=True)
class Region:
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """``quality`` 1 to 100 (not of PNG), ``scale`` 0.1 to 1; a whole screen where there is no region."""

    region: Region | None = None
    cursor: bool = False
    format: PictureFormat = PictureFormat.PNG
    quality: int = 85
    scale: float = 1.0


@dataclass(frozen=True)
class Screenshot:
    """``cursor`` only where it was asked for."""

    data: bytes
    cursor: Point | None


@dataclass(frozen=True)
class Window:
    id: int
    title: str
    region: Region
    active: bool


@dataclass(frozen=True)
class PartStatus:
    part: Part
    running: bool
    pid: int | None


@dataclass(frozen=True)
class Recording:
    """``ended_at``, ``size_bytes`` and ``seconds`` once it is complete."""

    id: str
    path: str
    label: str
    running: bool
    started_at: datetime
    ended_at: datetime | None
    size_bytes: int | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def seconds(self) -> float | None:
        return None if self.ended_at is None else max(0.0, (self.ended_at - self.started_at).total_seconds())
