import json

from tests.cli.program import Cli


def test_made_listed_mounted_and_removed(cli: Cli) -> None:
    identifier = cli("volume", "create", "shelf", "--size", "2").stdout.strip()
    (row,) = [row for row in json.loads(cli("volume", "list", "--json").stdout) if row["id"] == identifier]
    assert (row["name"], row["state"], row["sizeGib"]) == ("shelf", "ready", 2)
    assert "2 GiB" in cli("volume", "list").stdout
    assert "already exists" in cli.refused("volume", "create", "shelf")
    assert cli("volume", "rm", "shelf").stdout.strip() == "shelf"
    assert identifier not in cli("volume", "list").stdout


def test_what_is_not_there(cli: Cli) -> None:
    for name in ("nothing", "a/b", ".."):
        assert "not found" in cli.refused("volume", "rm", name)
    assert "size" in cli.refused("volume", "create", "large", "--size", "0").lower()
