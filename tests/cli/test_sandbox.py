import json
import signal
import subprocess
from collections.abc import Callable

from tests.cli.program import Cli

Start = Callable[..., "subprocess.Popen[bytes]"]


def listed(cli: Cli) -> dict[str, str]:
    """Names and states by id, of all but those that are on their way out: ``rm`` does not wait for their end."""
    rows = json.loads(cli("sandbox", "list", "--json").stdout)
    return {row["id"]: f"{row['name']} {row['state']}" for row in rows if row["state"] != "destroying"}


class TestRun:
    def test_outputs_stay_apart_and_the_exit_code_is_the_commands(self, cli: Cli) -> None:
        done = cli("sandbox", "run", "echo out; echo err >&2; exit 3", exit_code=3)
        assert (done.stdout, done.stderr) == ("out\n", "err\n")

    def test_several_words_reach_the_program_as_they_are(self, cli: Cli) -> None:
        words = ["a b", "'", '"', "$HOME", "*", "", "--json", "ü\n"]
        done = cli("sandbox", "run", "python3", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *words)
        assert json.loads(done.stdout) == words

    def test_it_is_removed_afterwards(self, cli: Cli) -> None:
        before = listed(cli)
        answer = json.loads(cli("sandbox", "run", "--json", "echo hi; echo no >&2; exit 1", exit_code=1).stdout)
        assert (answer["exit_code"], answer["stdout"], answer["stderr"]) == (1, "hi\n", "no\n")
        assert answer["milliseconds"] > 0
        assert answer["id"] not in before
        assert listed(cli) == before

    def test_it_is_removed_even_when_the_command_cannot_be_started(self, cli: Cli) -> None:
        before = listed(cli)
        assert "no such command" in cli.refused("sandbox", "run", "no-such-program", "-x")
        assert listed(cli) == before

    def test_kept_with_a_name_and_an_environment(self, cli: Cli) -> None:
        options = ["--keep", "--name", "kept-one", "--env", "GREETING=hello there", "-e", "FROM_HERE"]
        done = cli("sandbox", "run", *options, "echo $GREETING, $FROM_HERE", FROM_HERE="outside")
        identifier = done.stderr.strip()
        try:
            assert done.stdout == "hello there, outside\n"
            assert listed(cli)[identifier] == "kept-one started"
            assert cli("sandbox", "exec", "kept-one", "echo $GREETING").stdout == "hello there\n"
        finally:
            cli("sandbox", "rm", "kept-one")

    def test_without_a_command_it_is_only_made(self, cli: Cli) -> None:
        identifier = cli("sandbox", "run").stdout.strip()
        assert listed(cli)[identifier].endswith(" started")
        assert cli("sandbox", "rm", identifier).stdout.strip() == identifier
        assert identifier not in listed(cli)

    def test_an_unknown_snapshot(self, cli: Cli) -> None:
        assert "no-such-snapshot" in cli.refused("sandbox", "run", "--snapshot", "no-such-snapshot", "true")

    def test_an_environment_that_is_none(self, cli: Cli) -> None:
        for wrong in ("=x", "NOT_SET_ANYWHERE", ""):
            assert "NAME=VALUE" in cli.refused("sandbox", "run", "--env", wrong, "true", exit_code=2)


class TestExec:
    def test_in_a_folder_with_an_environment(self, cli: Cli, box: str) -> None:
        assert cli("sandbox", "exec", "--cwd", "/etc", "--env", "A=1", box, "pwd; echo $A").stdout == "/etc\n1\n"

    def test_as_json(self, cli: Cli, box: str) -> None:
        answer = json.loads(cli("sandbox", "exec", "--json", box, "echo a; echo b >&2; exit 4", exit_code=4).stdout)
        assert answer == {"exit_code": 4, "stdout": "a\n", "stderr": "b\n"}

    def test_dashes_before_the_command(self, cli: Cli, box: str) -> None:
        assert cli("sandbox", "exec", box, "--", "echo", "--", "-n").stdout == "-- -n\n"

    def test_much_output_arrives_whole(self, cli: Cli, box: str) -> None:
        assert cli("sandbox", "exec", box, "seq 200000").stdout.splitlines()[-1] == "200000"

    def test_killed_by_a_signal(self, cli: Cli, box: str) -> None:
        assert cli("sandbox", "exec", box, "kill -9 $$", exit_code=None).returncode not in (0, 1)

    def test_output_comes_while_it_runs_and_an_interrupt_ends_it_there_too(
        self, cli: Cli, box: str, start: Start
    ) -> None:
        process = start("sandbox", "exec", box, "echo begun; exec sleep 98765", stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        gone = "timeout 30 sh -c 'while pgrep -f \"^sleep 9876[5]\" >/dev/null; do sleep 0.05; done'"
        cli("sandbox", "exec", box, gone)

    def test_an_unknown_sandbox(self, cli: Cli) -> None:
        for name in ("nobody", "../keys", "a/b?c=d", "%2e%2e", " "):
            assert "not found" in cli.refused("sandbox", "exec", name, "true").lower()

    def test_one_that_is_stopped(self, cli: Cli, server: object) -> None:
        identifier = cli("sandbox", "run").stdout.strip()
        cli("sandbox", "rm", identifier)
        cli.refused("sandbox", "exec", identifier, "true")


class TestList:
    def test_whole_words_in_columns_where_no_terminal_is(self, cli: Cli, box: str) -> None:
        lines = cli("sandbox", "list", COLUMNS="20").stdout.splitlines()
        assert lines[0].split() == ["ID", "NAME", "STATE", "SNAPSHOT", "CPU", "MEMORY", "DISK", "CREATED"]
        (row,) = (line.split("  ") for line in lines if line.startswith(box))
        assert "started" in row


class TestRemove:
    def test_all_are_tried(self, cli: Cli) -> None:
        first, second = (cli("sandbox", "run").stdout.strip() for _ in range(2))
        done = cli("sandbox", "rm", first, "nobody", second, exit_code=1)
        assert done.stdout.split() == [first, second]
        assert "nobody" in done.stderr
        assert not {first, second} & listed(cli).keys()
