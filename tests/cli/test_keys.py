import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.program import Cli

ROUNDING = timedelta(minutes=5)


def test_a_new_key_lets_in_and_a_revoked_one_does_not(cli: Cli) -> None:
    key = cli("keys", "create", "laptop").stdout.strip()
    assert key.startswith("mp_")
    assert cli("keys", "revoke", "laptop").stdout.strip() == "laptop"
    assert "credentials" in cli.refused("sandbox", "list", MOONPOOL_API_KEY=key).lower()


def test_it_is_shown_once(cli: Cli) -> None:
    made = json.loads(cli("keys", "create", "shown", "--json").stdout)
    cli("sandbox", "list", MOONPOOL_API_KEY=made["key"])
    rows = {row["name"]: row for row in json.loads(cli("keys", "list", "--json").stdout)}
    changing = ("key", "last_used_at")  # when a key was last used is written in its own time
    unchanging = {name: value for name, value in made.items() if name not in changing}
    assert {name: value for name, value in rows["shown"].items() if name not in changing} == unchanging
    assert rows["shown"]["masked"].startswith(made["key"][:6])
    assert made["key"] not in json.dumps(rows)
    assert made["key"] not in cli("keys", "list").stdout
    cli("keys", "revoke", made["id"])
    assert "shown" not in cli("keys", "list").stdout


def test_scopes_limit_what_it_may_do(cli: Cli, box: str) -> None:
    key = cli("keys", "create", "reader", "--scope", "sandboxes:read", "--scope", "snapshots:read").stdout.strip()
    try:
        assert box in cli("sandbox", "list", MOONPOOL_API_KEY=key).stdout
        for words in (("run", "true"), ("exec", box, "true"), ("rm", box)):
            assert "sandboxes:" in cli("sandbox", *words, exit_code=1, MOONPOOL_API_KEY=key).stderr
        assert box in cli("sandbox", "list").stdout
    finally:
        cli("keys", "revoke", "reader")


def test_expiry(cli: Cli) -> None:
    made = json.loads(cli("keys", "create", "short", "--days", "30", "--json").stdout)
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert abs(left - timedelta(days=30)) < ROUNDING
    cli("keys", "revoke", "short")


def test_without_a_server(lonely: Cli) -> None:
    key = lonely("keys", "create", "early").stdout.strip()
    assert [row["name"] for row in json.loads(lonely("keys", "list", "--json").stdout)] == ["early"]
    database = lonely.data / "db.sqlite"
    assert database.parent.stat().st_mode & 0o077 == 0
    assert key.encode() not in b"".join(path.read_bytes() for path in database.parent.glob("db.sqlite*"))


def test_a_name_that_is_taken_and_one_that_is_not_there(lonely: Cli) -> None:
    lonely("keys", "create", "one")
    assert "one" in lonely.refused("keys", "create", "one")
    assert "not found" in lonely.refused("keys", "revoke", "two").lower()


@pytest.mark.parametrize(
    "words", [("--scope", "everything"), ("--days", "0"), ("--days", "-1"), ("--days", "soon"), ("--nonsense",)]
)
def test_wrong_use(lonely: Cli, words: tuple[str, ...]) -> None:
    lonely.refused("keys", "create", "x", *words, exit_code=2)


@pytest.mark.parametrize("name", ["", "x" * 300, "a\tb"])
def test_names_that_cannot_be(lonely: Cli, name: str) -> None:
    assert "printable" in lonely.refused("keys", "create", name)


def test_a_database_that_is_none(lonely: Cli) -> None:
    assert "MOONPOOL_DATABASE_URL" in lonely.refused("keys", "list", MOONPOOL_DATABASE_URL="mysql://root:hunter2@h/x")
    said = lonely.refused("keys", "list", MOONPOOL_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:9/x")
    assert "hunter2" not in said
