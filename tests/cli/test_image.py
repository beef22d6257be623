import json
from pathlib import Path

from tests.cli.program import Cli


def test_built_listed_and_nothing_left(lonely: Cli) -> None:
    assert "base image ready" in lonely("image", "build").stderr
    (image,) = json.loads(lonely("image", "list", "--json").stdout)
    assert image["name"] == "base"
    assert image["recipe"] in lonely("image", "list").stdout
    assert lonely("image", "build").stderr == ""
    assert str(lonely.data) not in Path("/proc/self/mountinfo").read_text()
    assert "nothing of one is there" in lonely("doctor").stdout


def test_looking_makes_nothing(lonely: Cli) -> None:
    assert json.loads(lonely("image", "list", "--json").stdout) == []
    assert not lonely.data.exists()


def test_beside_a_server(cli: Cli) -> None:
    assert [image["name"] for image in json.loads(cli("image", "list", "--json").stdout)] == ["base"]
    said = cli.refused("image", "build")
    assert "Another moonpool process uses" in said
    assert cli.environment["MOONPOOL_URL"].removeprefix("http://") in said
