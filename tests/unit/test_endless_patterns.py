"""Text that makes a careless pattern look again and again from each place: with such a one, these tests never end, and
neither would the server answer anybody meanwhile."""

from collections.abc import AsyncIterator

import pytest

from moonpool.dialects.codesandbox.pitcher.globs import choices
from moonpool.dialects.codesandbox.pitcher.shell import Identity, is_command
from moonpool.dialects.codesandbox.pitcher.taskfile import parse
from moonpool.dialects.common.bodies import ESCAPED_NUL
from moonpool.dialects.common.logs import mask
from moonpool.dialects.freestyle.shells import MARK, READY, until_ready
from moonpool.dialects.freestyle.terminals import plain_lines
from moonpool.git.errors import BranchExists, GitFailed
from moonpool.git.outcomes import failure
from moonpool.guest.model import Output, ProcessEvent
from moonpool.processes.code import RUNTIMES

MANY = 300_000
WRAPPING = "source $HOME/.private/.env 2>/dev/null || true && "


def task_file(text: str) -> str:
    return ", ".join(parse(text).errors)


class TestTaskFiles:
    @pytest.mark.parametrize(
        "text",
        ["/* " * MANY, '"' + '\\"' * MANY, '"' + '\\"' * MANY + "\\", "//" * MANY, ", " * MANY, '{"a": /*' * MANY],
    )
    def test_no_end(self, text: str) -> None:
        assert "not valid JSON" in task_file(text)

    def test_comments_and_commas_are_let_pass_as_before(self) -> None:
        text = '/* a */ {"tasks": {"b": {"name": "/* \\" // ,]", "command": "c", /**/},}, // d\n}'
        found = parse(text)
        assert not found.errors
        assert found.tasks["b"].name == '/* " // ,]'


class TestCode:
    def test_lines_without_end(self) -> None:
        assert RUNTIMES["javascript"].argv("\n" * MANY, ())[:2] == ("node", "-")

    @pytest.mark.parametrize("code", ["\n\n  import a from 'a'", "1\n\texport default 1", "await 1"])
    def test_modules_are_known(self, code: str) -> None:
        assert RUNTIMES["javascript"].argv(code, ())[0] == "sh"


class TestGit:
    @pytest.mark.parametrize(
        "text", ["'" * MANY, "branch named '" * MANY, "' is not a git command" * MANY, "hint:" * MANY]
    )
    def test_words_without_end(self, text: str) -> None:
        assert isinstance(failure(text), GitFailed)

    def test_what_it_says_at_last_is_understood(self) -> None:
        assert isinstance(failure("x\n" * MANY + "fatal: a branch named 'b' already exists\n"), BranchExists)


class TestTerminals:
    def test_marks_without_end(self) -> None:
        assert MARK.sub(b"", b"\x1b]777;moonpool;" * MANY).count(b"moonpool") == MANY
        assert MARK.sub(b"", b"a\x1b]777;moonpool;end;x;0\x07b") == b"ab"

    async def test_a_shell_that_prints_much_before_it_is_ready(self) -> None:
        piece, left = Output("terminal", bytes(1 << 18)), 4_000

        async def events() -> AsyncIterator[ProcessEvent]:
            nonlocal left
            while left:
                left -= 1
                yield piece
            yield Output("terminal", b"x" + READY[:5])
            yield Output("terminal", READY[5:])
            raise AssertionError("it was ready before")

        await until_ready(events())
        assert not left

    @pytest.mark.parametrize("text", ["\x1b[", "\x1b]", "\x1b", "\x1b[0", "\x1b  "])
    def test_sequences_without_end(self, text: str) -> None:
        assert len(plain_lines(text * MANY)) <= 1

    def test_commands_that_look_wrapped(self) -> None:
        assert not is_command(Identity("a", "TERMINAL", "x", "o", "h", "c", command=(WRAPPING + "env ") * MANY))
        assert is_command(Identity("a", "TERMINAL", "x", "o", "h", "c", command=WRAPPING + "env A='b' bash -c 'ls'"))


def test_braces_without_end() -> None:
    assert choices("{a}" * MANY)
    assert choices("./{a,b}/c") == ["a/c", "b/c"]


@pytest.mark.parametrize("text", ["a-", "&", "a://", "a://:", "?token", "bearer ", "mp_", "https://a:"])
def test_lines_of_logs(text: str) -> None:
    assert mask(text * MANY)


@pytest.mark.parametrize(
    ("raw", "found"),
    [(rb'"\u0000"', True), (rb'"\\u0000"', False), (rb'"\\\u0000"', True), (b'"' + b"\\" * MANY, False)],
)
def test_nul_in_json(raw: bytes, found: bool) -> None:
    assert (ESCAPED_NUL.search(raw) is not None) is found
