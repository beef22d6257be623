"""Code of a language, run once."""

import json
import subprocess
import sys

import pytest

from moonpool.processes.code import RUNTIMES, split_charts
from moonpool.processes.inside import source

WORD = "w" * 32


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    python = RUNTIMES["python"]
    command = [sys.executable, *python.argv(arguments)[1:]]
    return subprocess.run(
        command, input=python.stdin(WORD, code.encode()), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
    )


def test_plain_code_is_not_disturbed() -> None:
    done = run("import sys\nprint(sorted(globals()), sys.argv, sys.stdin.read())\nraise SystemExit(3)", "a", "b c")
    assert done.stdout.decode() == "['__builtins__', '__name__', 'sys'] ['-c', 'a', 'b c'] \n"
    assert done.returncode == 3


def test_tracebacks_begin_with_the_code_itself() -> None:
    assert run("1 / 0").stdout.decode().splitlines()[1] == '  File "<string>", line 1, in <module>'
    assert run("a b").stdout.decode().splitlines()[0] == '  File "<string>", line 1'


def test_the_programs_inside_need_no_new_python() -> None:
    for name in ("run_code.py", "interpret.py"):
        compile(source(name), name, "exec", dont_inherit=True)
        assert "match " not in source(name)
        assert "from __future__ import annotations" in source(name)


@pytest.mark.parametrize(
    ("output", "text", "charts"),
    [
        (b"plain", b"plain", ()),
        (b"text\n" + f"\n{WORD}{json.dumps([{'type': 'pie'}])}".encode(), b"text\n", ({"type": "pie"},)),
        (f"text\n{WORD}[{{".encode(), b"text", ()),
        (f"{WORD}[]".encode(), f"{WORD}[]".encode(), ()),
    ],
)
def test_charts_stand_after_the_word(output: bytes, text: bytes, charts: tuple[object, ...]) -> None:
    assert split_charts(output, WORD) == (text, charts)
