import json

from tests.cli.program import Cli


def test_show_set_and_give_back(lonely: Cli) -> None:
    shown = json.loads(lonely("limits", "show", "--json").stdout)
    assert shown["own"] == []
    assert (shown["limits"]["running"], shown["limits"]["cpu"]) == (None, 64)
    lonely("limits", "set", "running=3", "total-cpu=2.5", "requests_hourly=none")
    shown = json.loads(lonely("limits", "show", "--json").stdout)
    assert shown["own"] == ["requests_hourly", "running", "total_cpu"]
    assert (shown["limits"]["running"], shown["limits"]["total_cpu"]) == (3, 2.5)
    assert shown["limits"]["requests_hourly"] is None
    lonely("limits", "set", "running=default")
    table = lonely("limits", "show").stdout
    assert "total_cpu" in table
    assert [line.split()[1] for line in table.splitlines() if line.startswith("running")] == ["none"]


def test_wrong_use(lonely: Cli) -> None:
    assert "NAME=FIGURE" in lonely("limits", "set", "running", exit_code=2).stderr
    assert "No such limit: runing" in lonely("limits", "set", "runing=1", exit_code=1).stderr
    assert "a whole number" in lonely("limits", "set", "running=1.5", exit_code=1).stderr
    assert "no team named 'nobody'" in lonely("limits", "show", "--team", "nobody", exit_code=1).stderr
