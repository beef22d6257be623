import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

from moonpool.config import Settings
from tests.cli.program import Cli


def test_built_listed_and_nothing_left(lonely: Cli) -> None:
    assert "base image ready" in lonely("image", "build").stderr
    image, *derived = json.loads(lonely("image", "list", "--json").stdout)
    assert image["name"] == "base"
    assert [one["name"] for one in derived] in ([], ["workspace"])
    assert image["recipe"] in lonely("image", "list").stdout
    assert lonely("image", "build").stderr == ""
    assert str(lonely.data) not in Path("/proc/self/mountinfo").read_text()
    assert "nothing of one is there" in lonely("doctor").stdout


class EmptyMirror(BaseHTTPRequestHandler):
    """Has nothing, and remembers what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None: ...


def test_the_wanted_mirror_is_asked(lonely: Cli, tmp_path: Path) -> None:
    (tmp_path / "downloads").symlink_to(Settings().cache / "downloads")  # what is not of Debian
    with HTTPServer(("127.0.0.1", 0), EmptyMirror) as server:
        threading.Thread(target=server.serve_forever).start()
        mirror = f"http://127.0.0.1:{server.server_port}/debian"
        variables = {"MOONPOOL_CACHE": str(tmp_path), "MOONPOOL_DEBIAN_MIRROR": mirror, "no_proxy": "127.0.0.1"}
        try:
            lonely("image", "build", exit_code=1, **variables)
        finally:
            server.shutdown()
    assert "/debian/dists/bookworm/InRelease" in EmptyMirror.asked
    assert "MOONPOOL_DEBIAN_MIRROR" in lonely.refused("image", "list", exit_code=2, MOONPOOL_DEBIAN_MIRROR="here")


def test_looking_makes_nothing(lonely: Cli) -> None:
    assert json.loads(lonely("image", "list", "--json").stdout) == []
    assert not lonely.data.exists()


def test_beside_a_server(cli: Cli) -> None:
    """What is there needs no building; what is not cannot be built while somebody uses the images."""
    assert [image["name"] for image in json.loads(cli("image", "list", "--json").stdout)] == ["base", "workspace"]
    assert "images ready" in cli("image", "build").stderr
    said = cli.refused("image", "build", MOONPOOL_BASE_PACKAGES="cowsay")
    assert "Another moonpool process uses" in said
    assert cli.environment["MOONPOOL_URL"].removeprefix("http://") in said
