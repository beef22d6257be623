"""WebSocket messages; the contract tells them in prose only."""

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StrictStr

from moonpool.dialects.wrenn.wire import WireModel

Cells = Annotated[StrictInt, Field(ge=0, le=65535)]

DEFAULT_COLUMNS = 80
DEFAULT_ROWS = 24


class StreamStart(WireModel):
    """The first message of ``exec/stream``."""

    type: Literal["start"]
    cmd: Annotated[StrictStr, Field(min_length=1)]
    args: list[StrictStr] | None = None
    envs: dict[str, StrictStr] | None = None
    cwd: StrictStr | None = None


class StreamControl(WireModel):
    """What may follow it; ``stop`` is the only one known."""

    type: StrictStr = ""


class TerminalOpening(WireModel):
    """The first message of ``pty``: a new terminal, or the ``tag`` of one that is there. Size 0 is the default size."""

    type: Literal["start", "connect"]
    cmd: StrictStr | None = None
    args: list[StrictStr] | None = None
    cols: Cells = 0
    rows: Cells = 0
    envs: dict[str, StrictStr] | None = None
    cwd: StrictStr | None = None
    user: StrictStr | None = None
    tag: StrictStr = ""


class TerminalControl(WireModel):
    """What follows it: ``input`` with base64 ``data``, ``resize``, ``kill``, ``pong``."""

    type: StrictStr
    data: StrictStr = ""
    cols: Cells = 0
    rows: Cells = 0
