import json
import subprocess

from tests.cli.program import PROGRAM, Cli

PASSWORD = "correct horse battery"


def given(cli: Cli, password: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PROGRAM, "users", *words],
        env=cli.environment,
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_accounts_are_made_without_a_server(lonely: Cli) -> None:
    made = given(lonely, PASSWORD, "create", "Root@example.com", "--admin", "--team", "default", "--role", "owner")
    assert (made.returncode, made.stdout) == (0, "Root@example.com\n"), made.stderr
    row = json.loads(lonely("users", "list", "--json").stdout)[1]
    assert (row["email"], row["status"], row["administrator"]) == ("root@example.com", "active", True)
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in lonely.data.glob("db.sqlite*"))
    assert "at least one administrator" in lonely.refused("users", "disable", "root@example.com")
    assert given(lonely, "another password", "password", "root@example.com").returncode == 0


def test_wrong_use(lonely: Cli) -> None:
    assert "standard input" in lonely.refused("users", "create", "a@example.com", exit_code=2)
    short = given(lonely, "short", "create", "a@example.com")
    assert (short.returncode, short.stdout) == (1, "")
    assert "8 to 1024" in short.stderr
