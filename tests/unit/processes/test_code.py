"""Code of a language, run once."""

import ast
import json
import subprocess
import sys

import pytest

from moonpool.processes.code import RUNTIMES, split_charts
from moonpool.processes.inside import source

WORD = "w" * 32


@pytest.mark.parametrize("forged", ["7", "null", "{}", "[" * 100_000, '[1, {"a": 2}', "[7]"])
def test_charts_that_code_forges(forged: str) -> None:
    assert split_charts(f"shown\n{WORD}{forged}".encode(), WORD) == (b"shown", ())


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    python = RUNTIMES["python"]
    command = [sys.executable, *python.argv(code, arguments)[1:]]
    return subprocess.run(
        command, input=python.stdin(WORD, code.encode()), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
    )


def test_plain_code_is_not_disturbed() -> None:
    plain = subprocess.run([sys.executable, "-c", "print(sorted(globals()))"], capture_output=True, check=True)
    names = set(ast.literal_eval(plain.stdout.decode())) - {"__annotations__"}
    done = run(
        "print(sorted(globals()))\nimport sys\nprint(sys.argv, sys.stdin.read())\nraise SystemExit(3)", "a", "b c"
    )
    shown, rest = done.stdout.decode().split("\n", 1)
    assert set(ast.literal_eval(shown)) == names
    assert rest == "['-c', 'a', 'b c'] \n"
    assert done.returncode == 3


def test_what_the_code_defines_can_be_pickled_by_name() -> None:
    code = """
from multiprocessing import get_context
def square(x): return x * x
if __name__ == "__main__":
    with get_context("fork").Pool(2) as pool:
        print(pool.map(square, [1, 2, 3]))
"""
    assert run(code).stdout.decode() == "[1, 4, 9]\n"


def test_tracebacks_begin_with_the_code_itself() -> None:
    assert run("1 / 0").stdout.decode().splitlines()[1] == '  File "<string>", line 1, in <module>'
    assert run("a b").stdout.decode().splitlines()[0] == '  File "<string>", line 1'


def test_the_programs_inside_need_no_new_python() -> None:
    for name in ("run_code.py", "interpret.py"):
        compile(source(name), name, "exec", dont_inherit=True)
        assert "match " not in source(name)
        assert "from __future__ import annotations" in source(name)


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("console.log(1)", False),
        ("const { important } = require('./x')", False),
        ("x\n  import fs from 'fs'", True),
        ("export const a = 1", True),
        ("console.log(await f())", True),
    ],
)
def test_javascript_that_may_be_a_module(code: str, module: bool) -> None:
    assert (RUNTIMES["javascript"].argv(code, ("a",)) != ("node", "-", "a")) is module


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
