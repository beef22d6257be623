import json

from tests.cli.program import Cli
from tests.cli.test_sandbox import listed


def state(cli: Cli, box: str) -> str:
    return listed(cli)[box].split()[1]


class TestStates:
    def test_archived_and_brought_back(self, cli: Cli, box: str) -> None:
        cli("sandbox", "exec", box, "echo kept > kept.txt")
        assert cli("sandbox", "backup", box).stdout.strip() == box
        assert cli("sandbox", "stop", box).stdout.strip() == box
        assert cli("sandbox", "archive", box).stdout.strip() == box
        assert state(cli, box) == "archived"
        assert not (cli.data / "pool" / "sandboxes" / box).exists()
        assert "archived" in cli.refused("sandbox", "exec", box, "true")
        assert cli("sandbox", "start", box).stdout.strip() == box
        assert cli("sandbox", "exec", box, "cat kept.txt").stdout == "kept\n"
        findings = json.loads(cli("doctor", "--json", exit_code=None).stdout)["findings"]
        (finding,) = [finding for finding in findings if finding["subject"] == "archives"]
        assert (finding["verdict"], finding["text"].startswith("1 sandboxes")) == ("ok", True)

    def test_refused(self, cli: Cli, box: str) -> None:
        assert "running" in cli.refused("sandbox", "archive", box)
        assert "not found" in cli.refused("sandbox", "archive", "no-such-one")
