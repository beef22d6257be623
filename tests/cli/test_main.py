"""What the program says when it is used wrongly, and how it finds its server."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.program import Cli
from tests.servers import Server

COMMANDS = ("serve", "up", "doctor", "bench", "sandbox", "image", "keys")


class SaysHello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def other_server() -> Iterator[str]:
    """The address of something that answers and is no Moonpool."""
    with HTTPServer(("127.0.0.1", 0), SaysHello) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


class TestHelp:
    def test_names_every_command(self, lonely: Cli) -> None:
        text = lonely.apart("--help").stdout
        assert all(f" {command} " in text for command in COMMANDS)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_each(self, lonely: Cli, command: str) -> None:
        assert "Usage" in lonely.apart(command, "--help").stdout

    @pytest.mark.parametrize("words", [("dance",), ("sandbox", "dance"), ("sandbox", "exec"), ("--nonsense",)])
    def test_wrong_words(self, lonely: Cli, words: tuple[str, ...]) -> None:
        assert "Usage" in lonely.refused(*words, exit_code=2)


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_script(self, lonely: Cli, shell: str) -> None:
        done = lonely("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
        assert "_MOONPOOL_COMPLETE=complete_" in done.stdout

    def complete(self, cli: Cli, line: str) -> list[str]:
        words = {"_MOONPOOL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return cli(exit_code=None, **words).stdout.split()

    def test_of_commands_and_sandboxes(self, cli: Cli, lonely: Cli) -> None:
        cli, lonely = cli.apart, lonely.apart
        assert "doctor" in self.complete(cli, "moonpool do")
        cli("sandbox", "run", "--name", "to-complete")
        try:
            assert self.complete(cli, "moonpool sandbox exec to-c") == ["to-complete"]
        finally:
            cli("sandbox", "rm", "to-complete")
        assert self.complete(lonely, "moonpool sandbox exec to-c") == []


class TestFindingTheServer:
    def test_no_key(self, lonely: Cli) -> None:
        assert "MOONPOOL_API_KEY" in lonely.refused("sandbox", "list")

    def test_a_wrong_key(self, cli: Cli) -> None:
        assert "credentials" in cli.refused("sandbox", "list", MOONPOOL_API_KEY="mp_wrong").lower()

    @pytest.mark.parametrize("key", ["zwölf", "a b", "a\nb"])
    def test_a_key_that_cannot_be(self, cli: Cli, key: str) -> None:
        assert "MOONPOOL_API_KEY" in cli.refused("sandbox", "list", MOONPOOL_API_KEY=key)

    @pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://[::1", "127.0.0.1:8080"])
    def test_an_address_that_is_none(self, cli: Cli, url: str) -> None:
        assert "no address" in cli.refused("sandbox", "list", MOONPOOL_URL=url)

    def test_nobody_there(self, cli: Cli) -> None:
        for words in (("list",), ("run", "true"), ("exec", "x", "true")):
            said = cli.refused("sandbox", *words, MOONPOOL_URL="http://127.0.0.1:9")
            assert "does not answer" in said

    def test_somebody_else_there(self, cli: Cli, other_server: str) -> None:
        assert "no Moonpool server" in cli.refused("sandbox", "list", MOONPOOL_URL=other_server)

    def test_what_up_noted_is_used_and_the_environment_comes_first(
        self, lonely: Cli, server: Server, tmp_path: Path
    ) -> None:
        noted = tmp_path / "environment"
        listen = server.url.removeprefix("http://")
        noted.write_text(f"# comment\n\nMOONPOOL_LISTEN={listen}\nMOONPOOL_API_KEY={server.api_key}\n")
        variables = {"MOONPOOL_ENVIRONMENT_FILE": str(noted)}
        lonely("sandbox", "list", **variables)
        lonely.refused("sandbox", "list", **variables, MOONPOOL_API_KEY="mp_another")
        assert ":9" in lonely.refused("sandbox", "list", **variables, MOONPOOL_LISTEN="127.0.0.1:9")


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"), [("POOL_SIZE", "many"), ("POOL_SIZE", "-1"), ("ON_EXIT", "explode"), ("LOG_FORMAT", "xml")]
    )
    def test_wrong_ones_are_named(self, lonely: Cli, name: str, value: str) -> None:
        said = lonely.refused("serve", exit_code=2, **{f"MOONPOOL_{name}": value})
        assert f"MOONPOOL_{name}" in said

    def test_secrets_among_them_are_not_printed(self, lonely: Cli) -> None:
        said = lonely.refused("serve", exit_code=2, MOONPOOL_API_KEY="hunter2-hunter2", MOONPOOL_POOL_SIZE="x")
        assert "hunter2" not in said

    @pytest.mark.parametrize("listen", ["8080", "localhost", "127.0.0.1:", ":99999", "127.0.0.1:http", "1.2.3.4:70000"])
    def test_where_to_listen(self, lonely: Cli, listen: str) -> None:
        assert "ADDRESS:PORT" in lonely.refused("serve", "--listen", listen, exit_code=2)

    def test_what_to_do_at_the_end(self, lonely: Cli) -> None:
        lonely.refused("serve", "--on-exit", "explode", exit_code=2)

    def test_a_data_folder_that_is_in_use(self, cli: Cli, server: Server) -> None:
        said = cli.refused("serve", "--listen", "127.0.0.1:0")
        assert str(server.data) in said
        assert f"process {server.process.pid}" in said

    def test_a_data_folder_that_cannot_be(self, lonely: Cli) -> None:
        lonely.refused("serve", "--data", "/proc/nowhere/data")
