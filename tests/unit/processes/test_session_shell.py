"""What is said to a session's shell, tried on real shells."""

import subprocess
import uuid
from pathlib import Path

import pytest

from moonpool.processes.session_shell import PRELUDE, CommandFiles, folder_of, invocation, new_command_id


class Shell:
    """A shell of its own; ``run`` is one command of a session."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder = folder
        self.lines = [PRELUDE]
        self.program = program
        self.count = 0

    def add(self, text: str) -> str:
        self.count += 1
        name = f"c{self.count}"
        (self.folder / name).mkdir()
        (self.folder / name / "text").write_text(text)
        files = CommandFiles(str(self.folder / name))
        self.lines.append(invocation(files, background=False, echo_input=False))
        return name

    def finish(self) -> tuple[list[str], int]:
        """The shell's own output by lines, and its exit code."""
        done = subprocess.run([self.program], input=b"".join(self.lines), stdout=subprocess.PIPE, timeout=20)
        return done.stdout.decode().splitlines(), done.returncode

    def read(self, name: str, file: str) -> str:
        return (self.folder / name / file).read_text()


@pytest.fixture(params=["bash", "dash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def test_streams_status_and_state(shell: Shell) -> None:
    first = shell.add("cd /usr; X=1; export Y=2; echo out; echo err >&2; (exit 4)")
    second = shell.add('echo "$? $PWD $X $Y"')
    third = shell.add("cat; echo end")
    lines, code = shell.finish()
    assert (lines, code) == (["c1 4", "c2 0", "c3 0"], 0)
    assert (shell.read(first, "stdout"), shell.read(first, "stderr")) == ("out\n", "err\n")
    assert shell.read(first, "status") == "4\n"
    assert shell.read(second, "stdout") == "4 /usr 1 2\n"
    assert shell.read(third, "stdout") == "end\n"


@pytest.mark.parametrize("text", ["echo 'unfinished", "if true; then", "}", ")", "cat <<END", "case x in", "$("])
def test_what_does_not_parse_ends_nothing(shell: Shell, text: str) -> None:
    shell.add(text)
    after = shell.add("echo fine")
    lines, code = shell.finish()
    assert (lines[-1], code) == ("c2 0", 0)
    assert shell.read(after, "stdout") == "fine\n"


def test_exit_ends_the_shell(shell: Shell) -> None:
    shell.add("exit 7")
    shell.add("echo never")
    assert shell.finish() == ([], 7)


@pytest.mark.parametrize("option", ["-u", "-e", "-f", "-C", "-x"])
def test_options_of_the_shell(shell: Shell, option: str) -> None:
    shell.add(f"set {option}")
    shell.add("echo fine")
    assert shell.finish() == (["c1 0", "c2 0"], 0)


def test_command_ids_are_uuids_that_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in range(1_700_000_000_000, 1_700_000_000_020):
        monkeypatch.setattr("time.time_ns", lambda moment=milliseconds: moment * 1_000_000)
        made.append(new_command_id())
    assert sorted(made) == made
    assert {uuid.UUID(item).version for item in made} == {7}
    assert {uuid.UUID(item).variant for item in made} == {uuid.RFC_4122}


def test_folders_have_harmless_names() -> None:
    names = {folder_of(session_id).rpartition("/")[2] for session_id in ("a", "../../x", "a b$(c)", "ü")}
    assert len(names) == 4
    assert all(name.isalnum() and name.isascii() for name in names)
