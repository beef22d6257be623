"""The desktop's processes, its screen, its mouse and its keyboard."""

import base64

from starlette.responses import Response

from moonpool.desktop.errors import DesktopProcessNotFound
from moonpool.desktop.model import (
    Button,
    Direction,
    Part,
    PartStatus,
    Picture,
    PictureFormat,
    Point,
    Region,
    Screenshot,
)
from moonpool.dialects.daytona.toolbox import desktop_models as models
from moonpool.dialects.daytona.toolbox.call import Call, json_response, text_of
from moonpool.dialects.daytona.toolbox.git import choice
from moonpool.errors import InvalidInput

# The contract's processes; what it calls xfce4 is here whatever keeps the windows.
NAMES = {Part.SCREEN: "xvfb", Part.SESSION: "xfce4", Part.VNC: "x11vnc", Part.BROWSER: "novnc"}
PARTS = {name: part for part, name in NAMES.items()}
PRIORITIES = {part: 100 * (number + 1) for number, part in enumerate(Part)}
DOUBLE = 2
LARGEST = 100_000  # pixels


async def start(call: Call) -> Response:
    parts = await call.unless_gone(call.tools.desktop.start(call.principal, call.sandbox))
    return json_response({"message": "Computer use processes started successfully", "status": processes(parts)})


async def stop(call: Call) -> Response:
    parts = await call.tools.desktop.stop(call.principal, call.sandbox)
    return json_response({"message": "Computer use processes stopped successfully", "status": processes(parts)})


async def status(call: Call) -> Response:
    """``active`` with all of its processes, ``partial`` with some, else ``inactive``."""
    running = [part.running for part in await call.tools.desktop.status(call.principal, call.sandbox)]
    return json_response({"status": "active" if all(running) else "partial" if any(running) else "inactive"})


async def process_status(call: Call) -> Response:
    name, part = named(call)
    parts = await call.tools.desktop.status(call.principal, call.sandbox)
    running = any(each.running for each in parts if each.part is part)
    return json_response({"processName": name, "running": running})


async def process_restart(call: Call) -> Response:
    name, part = named(call)
    await call.unless_gone(call.tools.desktop.restart(call.principal, call.sandbox, part))
    return json_response({"message": f"Process {name} restarted successfully", "processName": name})


async def process_logs(call: Call) -> Response:
    name, part = named(call)
    log = await call.tools.desktop.log(call.principal, call.sandbox, part)
    return json_response({"processName": name, "logs": text_of(log)})


async def process_errors(call: Call) -> Response:
    name, part = named(call)
    log = await call.tools.desktop.log(call.principal, call.sandbox, part, errors=True)
    return json_response({"processName": name, "errors": text_of(log)})


async def display(call: Call) -> Response:
    async with call.tools.desktop.screen(call.principal, call.sandbox) as screen:
        size = await screen.size()
    one = {"id": 0, "x": 0, "y": 0, "width": size.width, "height": size.height, "isActive": True}
    return json_response({"displays": [one]})


async def windows(call: Call) -> Response:
    async with call.tools.desktop.screen(call.principal, call.sandbox) as screen:
        found = await screen.windows()
    documents = [
        {
            "id": window.id,
            "title": window.title,
            "x": window.region.x,
            "y": window.region.y,
            "width": window.region.width,
            "height": window.region.height,
            "isActive": window.active,
        }
        for window in found
    ]
    return json_response({"windows": documents})


async def screenshot(call: Call) -> Response:
    return await picture(call, Picture(cursor=call.flag("showCursor")))


async def screenshot_region(call: Call) -> Response:
    return await picture(call, Picture(region=region(call), cursor=call.flag("showCursor")))


async def screenshot_compressed(call: Call) -> Response:
    return await picture(call, compressed(call, None))


async def screenshot_region_compressed(call: Call) -> Response:
    return await picture(call, compressed(call, region(call)))


async def picture(call: Call, wanted: Picture) -> Response:
    async with call.tools.desktop.screen(call.principal, call.sandbox) as screen:
        return json_response(screenshot_document(await call.unless_gone(screen.picture(wanted))))


def compressed(call: Call, area: Region | None) -> Picture:
    given = call.connection.query_params
    kind = "jpeg" if given.get("format") == "jpg" else given.get("format") or PictureFormat.PNG
    try:
        scale = float(given.get("scale") or 1)
    except ValueError:
        raise InvalidInput("scale must be a number", field="scale") from None
    return Picture(
        region=area,
        cursor=call.flag("showCursor"),
        format=choice(PictureFormat, kind, "format"),
        quality=call.integer("quality", 85, 1, 100),
        scale=scale,
    )


def region(call: Call) -> Region:
    for name in ("x", "y", "width", "height"):
        call.query(name)
    return Region(*(call.integer(name, 0, 0, LARGEST) for name in ("x", "y", "width", "height")))


def screenshot_document(taken: Screenshot) -> dict[str, object]:
    document: dict[str, object] = {
        "screenshot": base64.b64encode(taken.data).decode(),
        "sizeBytes": len(taken.data),
    }
    return document if taken.cursor is None else {**document, "cursorPosition": point_document(taken.cursor)}


async def mouse_position(call: Call) -> Response:
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        return json_response(point_document(await controls.position()))


async def mouse_move(call: Call) -> Response:
    request = await call.body(models.PointRequest)
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        return json_response(point_document(await controls.move(Point(request.x, request.y))))


async def mouse_click(call: Call) -> Response:
    request = await call.body(models.ClickRequest)
    clicks = request.clicks if request.clicks is not None else DOUBLE if request.double else 1
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        at = Point(request.x, request.y)
        clicking = controls.click(at, button(request), clicks=clicks, modifiers=request.modifiers or ())
        return json_response(point_document(await clicking))


async def mouse_down(call: Call) -> Response:
    return await press(call, down=True)


async def mouse_up(call: Call) -> Response:
    return await press(call, down=False)


async def press(call: Call, *, down: bool) -> Response:
    request = await call.body(models.PressRequest)
    if (request.x is None) != (request.y is None):
        raise InvalidInput("x and y go together", field="x")
    at = Point(request.x, request.y) if request.x is not None and request.y is not None else None
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        return json_response(point_document(await controls.press(at, button(request), down=down)))


async def mouse_drag(call: Call) -> Response:
    request = await call.body(models.DragRequest)
    start, end = Point(request.startX, request.startY), Point(request.endX, request.endY)
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        dragging = controls.drag(start, end, button(request), modifiers=request.modifiers or ())
        return json_response(point_document(await dragging))


async def mouse_scroll(call: Call) -> Response:
    request = await call.body(models.ScrollRequest)
    direction = choice(Direction, request.direction, "direction")
    amount = 1 if request.amount is None else request.amount
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        await controls.scroll(Point(request.x, request.y), direction, amount, modifiers=request.modifiers or ())
    return json_response({"success": True})


async def keyboard_type(call: Call) -> Response:
    request = await call.body(models.TypeRequest)
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        await call.unless_gone(
            controls.type(request.text, **({} if request.delay is None else {"delay": request.delay}))
        )
    return json_response({})


async def keyboard_press(call: Call) -> Response:
    request = await call.body(models.KeyPressRequest)
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        await controls.key(request.key, request.modifiers or ())
    return json_response({})


async def keyboard_hotkey(call: Call) -> Response:
    request = await call.body(models.HotkeyRequest)
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        await controls.hotkey(request.keys)
    return json_response({})


async def keyboard_down(call: Call) -> Response:
    return await hold(call, down=True)


async def keyboard_up(call: Call) -> Response:
    return await hold(call, down=False)


async def hold(call: Call, *, down: bool) -> Response:
    request = await call.body(models.KeyRequest)
    async with call.tools.desktop.controls(call.principal, call.sandbox) as controls:
        await controls.hold(request.key, down=down)
    return json_response({})


def named(call: Call) -> tuple[str, Part]:
    name = call.parameters["process"]
    if name not in PARTS:
        raise DesktopProcessNotFound(f"There is no process '{name[:40]}'", hint=f"Known: {', '.join(PARTS)}.")
    return name, PARTS[name]


def button(request: models.ButtonRequest) -> Button:
    return choice(Button, request.button or Button.LEFT, "button")


def processes(parts: tuple[PartStatus, ...]) -> dict[str, dict[str, object]]:
    return {
        NAMES[each.part]: {
            "running": each.running,
            "priority": PRIORITIES[each.part],
            "autoRestart": False,
            **({} if each.pid is None else {"pid": each.pid}),
        }
        for each in parts
    }


def point_document(point: Point) -> dict[str, int]:
    return {"x": point.x, "y": point.y}
