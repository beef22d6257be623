"""Every operation of the toolbox's contract that this server does not offer, in one table: each is answered with 501
and a hint, so that a client learns what is missing instead of finding a 404 that could be a wrong URL."""

from collections.abc import Mapping

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox.call import Call
from moonpool.errors import NotSupported

DESKTOP_HINT = "The images of this server have no desktop yet."

UNSUPPORTED: Mapping[str, tuple[str, ...]] = {
    DESKTOP_HINT: (
        "POST /computeruse/a11y/find",
        "POST /computeruse/a11y/node/focus",
        "POST /computeruse/a11y/node/invoke",
        "POST /computeruse/a11y/node/value",
        "GET /computeruse/a11y/tree",
        "GET /computeruse/display/info",
        "GET /computeruse/display/windows",
        "POST /computeruse/keyboard/down",
        "POST /computeruse/keyboard/hotkey",
        "POST /computeruse/keyboard/key",
        "POST /computeruse/keyboard/type",
        "POST /computeruse/keyboard/up",
        "POST /computeruse/mouse/click",
        "POST /computeruse/mouse/down",
        "POST /computeruse/mouse/drag",
        "POST /computeruse/mouse/move",
        "GET /computeruse/mouse/position",
        "POST /computeruse/mouse/scroll",
        "POST /computeruse/mouse/up",
        "GET /computeruse/process-status",
        "GET /computeruse/process/{processName}/errors",
        "GET /computeruse/process/{processName}/logs",
        "POST /computeruse/process/{processName}/restart",
        "GET /computeruse/process/{processName}/status",
        "GET /computeruse/recordings",
        "POST /computeruse/recordings/start",
        "POST /computeruse/recordings/stop",
        "DELETE /computeruse/recordings/{id}",
        "GET /computeruse/recordings/{id}",
        "GET /computeruse/recordings/{id}/download",
        "GET /computeruse/screenshot",
        "GET /computeruse/screenshot/compressed",
        "GET /computeruse/screenshot/region",
        "GET /computeruse/screenshot/region/compressed",
        "POST /computeruse/start",
        "GET /computeruse/status",
        "POST /computeruse/stop",
    ),
}
HINTS: Mapping[str, str] = {
    operation.split("/")[1]: hint for hint, operations in UNSUPPORTED.items() for operation in operations
}


async def refuse(call: Call) -> Response | None:
    path = call.connection.path_params["path"]
    raise NotSupported(f"This server does not offer {call.request.method} /{path}", hint=HINTS[path.split("/")[0]])
