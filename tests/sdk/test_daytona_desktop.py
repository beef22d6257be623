"""A desktop, through the SDK: what is clicked and typed is seen in pictures."""

import base64
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig, Sandbox
from daytona.common.computer_use import ScreenshotOptions, ScreenshotRegion
from daytona.common.errors import DaytonaBadRequestError, DaytonaConflictError, DaytonaError, DaytonaNotFoundError

from tests.contract.documents import TOOLBOX
from tests.contract.record import listening_sync
from tests.sdk.node import node_project, run_script
from tests.sdk.test_readme import run as run_snippet
from tests.sdk.test_readme import snippet
from tests.servers import Server

WIDTH, HEIGHT = 1280, 800


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., AbstractContextManager[Server]]) -> Iterator[Server]:
    with server_factory(MOONPOOL_DESKTOP="true", MOONPOOL_POOL_SIZE="1") as running:
        yield running


@pytest.fixture(scope="module")
def daytona(server: Server) -> Daytona:
    return Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))


@pytest.fixture(scope="module")
def sandbox(daytona: Daytona) -> Iterator[Sandbox]:
    made = daytona.create(CreateSandboxFromSnapshotParams(snapshot="daytona-desktop"))
    with pytest.raises(DaytonaError, match="does not run"):
        made.computer_use.screenshot.take_full_screen()
    started = made.computer_use.start()
    assert {name for name, status in started.status.items() if status.running} == {"xvfb", "xfce4", "x11vnc", "novnc"}
    yield made
    made.delete()


@pytest.fixture(scope="module")
def toolbox(server: Server, sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"{server.url}/toolbox/{sandbox.id}/computeruse",
        headers={"Authorization": f"Bearer {server.api_key}"},
        event_hooks=listening_sync(TOOLBOX),
        timeout=120,
        trust_env=False,
    ) as client:
        yield client


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def picture(sandbox: Sandbox) -> bytes:
    return base64.b64decode(sandbox.computer_use.screenshot.take_full_screen().screenshot)


def wait_for_window(sandbox: Sandbox, title: str) -> str:
    """xdotool waits for the window itself."""
    found = sandbox.process.exec(f"xdotool search --sync --onlyvisible --name '{title}'", timeout=60)
    assert found.exit_code == 0, found.result
    return found.result.split()[0]


def test_processes(sandbox: Sandbox) -> None:
    assert sandbox.computer_use.get_status().status == "active"
    assert sandbox.computer_use.get_process_status("xvfb").running
    sandbox.computer_use.restart_process("x11vnc")
    assert sandbox.computer_use.get_process_status("x11vnc").running
    assert sandbox.computer_use.get_process_logs("novnc").process_name == "novnc"
    assert sandbox.computer_use.get_process_errors("x11vnc").process_name == "x11vnc"
    with pytest.raises(DaytonaNotFoundError, match="xvfb"):
        sandbox.computer_use.get_process_status("nothing")


def test_the_readme_s_desktop(server: Server, tmp_path: Path) -> None:
    settings = {"DAYTONA_API_URL": f"{server.url}/api", "DAYTONA_API_KEY": server.api_key}
    assert ".localhost:" in run_snippet(Path(sys.executable), snippet("desktop"), tmp_path, **settings)
    assert size_of((tmp_path / "desktop.png").read_bytes()) == (WIDTH, HEIGHT)


def test_pictures(sandbox: Sandbox) -> None:
    shot = sandbox.computer_use.screenshot.take_full_screen()
    data = base64.b64decode(shot.screenshot)
    assert size_of(data) == (WIDTH, HEIGHT)
    assert shot.size_bytes == len(data)
    region = ScreenshotRegion(x=10, y=20, width=300, height=200)
    part = sandbox.computer_use.screenshot.take_region(region, show_cursor=True)
    assert size_of(base64.b64decode(part.screenshot)) == (300, 200)
    assert part.cursor_position is not None
    small = sandbox.computer_use.screenshot.take_compressed(ScreenshotOptions(fmt="png", scale=0.5))
    assert size_of(base64.b64decode(small.screenshot)) == (WIDTH // 2, HEIGHT // 2)
    jpeg = sandbox.computer_use.screenshot.take_compressed_region(region, ScreenshotOptions(fmt="jpeg", quality=50))
    assert base64.b64decode(jpeg.screenshot).startswith(b"\xff\xd8")
    webp = sandbox.computer_use.screenshot.take_compressed(ScreenshotOptions(fmt="webp"))
    assert base64.b64decode(webp.screenshot)[8:12] == b"WEBP"
    with pytest.raises(DaytonaBadRequestError, match="1280 x 800"):
        sandbox.computer_use.screenshot.take_region(ScreenshotRegion(x=1200, y=0, width=100, height=10))


def test_what_is_typed_and_clicked_is_there(sandbox: Sandbox) -> None:
    display = sandbox.computer_use.display.get_info().displays[0]
    assert (display.width, display.height) == (WIDTH, HEIGHT)
    empty = picture(sandbox)
    sandbox.process.exec("setsid stterm -T typing -g 80x24+100+100 >/dev/null 2>&1 &")
    wait_for_window(sandbox, "typing")
    window = next(each for each in sandbox.computer_use.display.get_windows().windows if each.title == "typing")
    assert picture(sandbox) != empty

    sandbox.computer_use.mouse.click(window.x + window.width // 2, window.y + window.height // 2)
    sandbox.computer_use.keyboard.type("echo 'ünïcode & $HOME' >~/typed.txt")
    sandbox.computer_use.keyboard.press("enter")
    sandbox.computer_use.keyboard.type("exit")
    sandbox.computer_use.keyboard.hotkey("Return")
    ended = sandbox.process.exec("while pgrep -x stterm >/dev/null; do sleep 0.1; done; cat ~/typed.txt", timeout=60)
    assert ended.result == "ünïcode & $HOME\n"


def test_the_mouse(sandbox: Sandbox) -> None:
    mouse = sandbox.computer_use.mouse
    assert (mouse.move(200, 300).x, mouse.get_position().y) == (200, 300)
    dragged = mouse.drag(10, 10, 400, 420)
    assert (dragged.x, dragged.y) == (400, 420)
    mouse.down(5, 6)
    assert mouse.up(7, 8).x == 7
    assert mouse.scroll(100, 100, "down", 3)
    clicked = mouse.click(50, 60, button="right", modifiers=["ctrl"])
    assert (clicked.x, clicked.y) == (50, 60)
    for wrong in (lambda: mouse.click(WIDTH, 5), lambda: mouse.move(-1, 5), lambda: mouse.click(1, 1, clicks=0)):
        with pytest.raises(DaytonaBadRequestError):
            wrong()
    with pytest.raises(DaytonaBadRequestError):
        mouse.click(1, 1, button="fourth")
    assert mouse.get_position().x == 50


def test_keys_that_there_are_not(sandbox: Sandbox) -> None:
    keyboard = sandbox.computer_use.keyboard
    for wrong in ("NoSuchKey", "a b", "--help"):
        with pytest.raises(DaytonaBadRequestError):
            keyboard.press(wrong)
    with pytest.raises(DaytonaBadRequestError):
        keyboard.hotkey("ctrl++x")


def test_elements(sandbox: Sandbox) -> None:
    sandbox.process.exec("setsid mousepad >/dev/null 2>&1 &")
    wait_for_window(sandbox, "Mousepad")
    elements = sandbox.computer_use.accessibility
    tree = elements.get_tree(max_depth=1)
    assert "mousepad" in {child.name for child in tree.root.children}
    found = elements.find_nodes(role="text", limit=1)
    elements.set_node_value(found.matches[0].id, "written by its element")
    menu = elements.find_nodes(name="File", name_match="exact", role="menu").matches[0]
    assert menu.bounds.width > 0
    with pytest.raises(DaytonaBadRequestError):
        elements.invoke_node(menu.id, "no such action")
    with pytest.raises(DaytonaNotFoundError):
        elements.focus_node("1/0.0")
    sandbox.process.exec("pkill mousepad")


def test_recordings(sandbox: Sandbox, tmp_path: Path) -> None:
    recordings = sandbox.computer_use.recording
    started = recordings.start("my film")
    assert started.status == "recording"
    with pytest.raises(DaytonaConflictError):
        recordings.delete(started.id)
    sandbox.computer_use.mouse.move(600, 600)
    stopped = recordings.stop(started.id)
    assert stopped.status == "completed"
    assert stopped.size_bytes
    assert [each.id for each in recordings.list().recordings] == [started.id]
    recordings.download(started.id, str(tmp_path / "film.mp4"))
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"
    recordings.delete(started.id)
    with pytest.raises(DaytonaNotFoundError):
        recordings.get(started.id)


def test_it_goes_on_after_a_pause_and_ends(sandbox: Sandbox) -> None:
    before = sandbox.process.exec("pgrep -x Xvfb").result
    sandbox.pause()
    sandbox.start()
    assert size_of(picture(sandbox)) == (WIDTH, HEIGHT)
    assert sandbox.process.exec("pgrep -x Xvfb").result == before
    stopped = sandbox.computer_use.stop()
    assert not any(status.running for status in stopped.status.values())
    assert sandbox.computer_use.get_status().status == "inactive"


def test_every_operation_answers_as_documented(sandbox: Sandbox, toolbox: httpx.Client) -> None:
    """But for those of recordings and of elements, which need what others answered: these follow."""
    toolbox.post("/start")
    place = {"x": 10, "y": 10}
    for operation, body in {
        "mouse/move": place,
        "mouse/click": place,
        "mouse/down": place,
        "mouse/up": place,
        "mouse/drag": {"startX": 1, "startY": 1, "endX": 5, "endY": 5},
        "mouse/scroll": {**place, "direction": "up"},
        "keyboard/type": {"text": "a"},
        "keyboard/key": {"key": "a"},
        "keyboard/hotkey": {"keys": "ctrl+a"},
        "keyboard/down": {"key": "shift"},
        "keyboard/up": {"key": "shift"},
        "process/x11vnc/restart": {},
    }.items():
        assert toolbox.post(f"/{operation}", json=body).status_code == 200, operation
    region = "x=1&y=1&width=50&height=50"
    looks = [
        "status",
        "process-status",
        "display/info",
        "display/windows",
        "mouse/position",
        "recordings",
        "screenshot",
    ]
    looks += [
        "screenshot/compressed?format=jpeg",
        f"screenshot/region?{region}",
        f"screenshot/region/compressed?{region}",
    ]
    looks += [f"process/xvfb/{what}" for what in ("status", "logs", "errors")]
    for look in looks:
        assert toolbox.get(f"/{look}").status_code == 200, look


def test_recordings_and_elements_answer_as_documented(sandbox: Sandbox, toolbox: httpx.Client) -> None:
    film = toolbox.post("/recordings/start").json()["id"]
    assert toolbox.post("/recordings/stop", json={"id": film}).json()["status"] == "completed"
    assert toolbox.get(f"/recordings/{film}").status_code == 200
    assert toolbox.get(f"/recordings/{film}/download").content[4:8] == b"ftyp"
    assert toolbox.delete(f"/recordings/{film}").status_code == 204

    sandbox.process.exec("setsid mousepad >/dev/null 2>&1 &")
    wait_for_window(sandbox, "Mousepad")
    assert toolbox.get("/a11y/tree", params={"maxDepth": 1}).status_code == 200
    text = toolbox.post("/a11y/find", json={"role": "text", "limit": 1}).json()["matches"][0]["id"]
    assert toolbox.post("/a11y/node/value", json={"id": text, "value": "hello"}).status_code == 200
    assert toolbox.post("/a11y/node/focus", json={"id": text}).status_code == 200
    menu = toolbox.post("/a11y/find", json={"name": "File", "nameMatch": "exact"}).json()["matches"][0]
    assert toolbox.post("/a11y/node/invoke", json={"id": menu["id"]}).status_code == 200
    sandbox.process.exec("pkill mousepad")
    assert toolbox.post("/stop").status_code == 200


def test_the_javascript_sdk(server: Server) -> None:
    project = node_project("daytona", **{"@daytonaio/sdk": "0.218.0"})
    done = run_script(project, Path(__file__).parent / "daytona_javascript" / "desktop.mjs", server)
    assert done.stdout == "finished\n"


def test_a_sandbox_without_a_desktop_says_so(daytona: Daytona) -> None:
    plain = daytona.create()
    with pytest.raises(DaytonaError, match="daytona-desktop"):
        plain.computer_use.start()
    plain.delete()
