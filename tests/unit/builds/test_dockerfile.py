"""Dockerfiles as they are read: stages, words, and what is wrong in them, with its line."""

import pytest

from moonpool.builds.dockerfile import absolute, parse
from moonpool.errors import BuildInvalid


def message_of(text: str, **arguments: str) -> tuple[str, int | None]:
    with pytest.raises(BuildInvalid) as caught:
        parse(text, arguments)
    return caught.value.message, caught.value.line


class TestStages:
    def test_stages_have_names_bases_and_numbers(self) -> None:
        file = parse("FROM debian:12 AS Build\nRUN a\nFROM alpine\nCOPY --from=build /a /b\n", {})
        assert [(stage.name, stage.base) for stage in file.stages] == [("build", "debian:12"), ("", "alpine")]
        assert (file.find("BUILD"), file.find("1"), file.find("none")) == (0, 1, None)
        assert (file.wanted(None), file.wanted("build")) == (1, 0)

    def test_a_stage_finds_only_those_before_it(self) -> None:
        file = parse("FROM a AS x\nFROM b AS x\nFROM c\n", {})
        assert (file.find("x", before=1), file.find("x", before=2)) == (0, 1)

    def test_the_base_may_be_an_argument(self) -> None:
        text = "ARG VERSION=3\nARG NAME=python:$VERSION\nFROM ${NAME}-slim\n"
        assert parse(text, {}).stages[0].base == "python:3-slim"
        assert parse(text, {"VERSION": "4"}).stages[0].base == "python:4-slim"

    def test_the_target_must_be_there(self) -> None:
        with pytest.raises(BuildInvalid, match="no stage 'x'"):
            parse("FROM a\n", {}).wanted("x")

    def test_escapes_comments_and_continuations(self) -> None:
        file = parse("# escape=`\nFROM a\nRUN one `\n# no\n  two\n", {})
        assert file.escape == "`"
        assert [each.words for each in file.stages[0].instructions] == [("one   two",)]

    def test_heredocs_are_kept_with_their_names(self) -> None:
        (instruction,) = parse("FROM a\nCOPY <<A <<-'B' /x/\n$one\nA\n\ttwo\nB\n", {}).stages[0].instructions
        assert [(each.name, each.content, each.expand) for each in instruction.heredocs] == [
            ("A", "$one\n", True),
            ("B", "two\n", False),
        ]


class TestWrongOnes:
    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("", 1, "no FROM"),
            ("RUN a\n", 1, "before the first FROM"),
            ("FROM a\nFOO b\n", 2, "unknown instruction"),
            ("FROM a\n\nRUN <<E\nx\n", 3, "unterminated heredoc"),
            ("FROM a b\n", 1, "FROM takes an image"),
            ("FROM a AS 1x\n", 1, "Not a name of a stage"),
            ("FROM a\nCOPY --colour a b\n", 2, "no option --colour"),
            ("FROM a\nCOPY --chown=a --chown=b c d\n", 2, "given twice"),
            ("FROM ${A\n", 1, "missing '}'"),
            ("FROM --platform=windows/amd64 a\n", 1, "builds for linux/"),
            ("FROM a\nENV X\n", 2, "two arguments"),
        ],
    )
    def test_the_line_is_told(self, text: str, line: int, words: str) -> None:
        message, told = message_of(text)
        assert words in message
        assert told == line
        assert f"line {line}" in message or text == ""

    def test_sizes_have_limits(self) -> None:
        assert "larger than" in message_of("FROM a\n" + "#" * (1 << 20))[0]
        assert "more than 1000 instructions" in message_of("FROM a\n" + "RUN x\n" * 1001)[0]
        assert "NUL" in message_of("FROM a\0\n")[0]


@pytest.mark.parametrize(
    ("folder", "path", "expected"),
    [
        ("/", "a", "/a"),
        ("/app", "b/../c", "/app/c"),
        ("/app", "/x/./y/", "/x/y"),
        ("/app", "../../../etc", "/etc"),
        ("/app", ".", "/app"),
        ("", "x", "/x"),
    ],
)
def test_paths_never_leave_the_root(folder: str, path: str, expected: str) -> None:
    assert absolute(folder, path) == expected
