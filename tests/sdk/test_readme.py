"""The README's snippets run as printed, against a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sdk.node import node_project, run_script
from tests.sdk.wrenn.conftest import wrenn_sdk
from tests.servers import Server

__all__ = ["wrenn_sdk"]  # the fixture, for pytest to find here too
README = Path(__file__).parents[2] / "README.md"


def snippet(language: str) -> str:
    found = re.search(rf"```(?:python|js) {language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"README.md has no {language} snippet"
    return found[1]


def run(python: Path, code: str, cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_daytona_snippet(server: Server) -> None:
    printed = run(
        Path(sys.executable), snippet("daytona"), DAYTONA_API_URL=f"{server.url}/api", DAYTONA_API_KEY=server.api_key
    )
    assert printed.startswith("Linux")
    assert "45\n" in printed
    assert "b'hello'" in printed


def test_interpreter_snippet(server: Server) -> None:
    settings = {"DAYTONA_API_URL": f"{server.url}/api", "DAYTONA_API_KEY": server.api_key}
    printed = run(Path(sys.executable), snippet("interpreter"), **settings)
    assert printed.splitlines() == ["28.274333882308138", "ZeroDivisionError", "name 'radius' is not defined"]


def test_preview_snippet(server: Server) -> None:
    settings = {"DAYTONA_API_URL": f"{server.url}/api", "DAYTONA_API_KEY": server.api_key}
    printed = run(Path(sys.executable), snippet("preview"), **settings)
    assert ".localhost:" in printed.splitlines()[0]
    assert "<h1>hello from a sandbox</h1>" in printed


@pytest.mark.parametrize("version", ["0.1.4", "0.2.0"])
def test_wrenn_snippet(server: Server, version: str, wrenn_sdk: Callable[[str], str]) -> None:
    python = Path(wrenn_sdk(version))
    printed = run(python, snippet("wrenn"), WRENN_BASE_URL=server.url, WRENN_API_KEY=server.api_key)
    assert printed.startswith("Linux")
    assert printed.endswith("hello\n")


def test_codesandbox_snippet(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "snippet.mjs"
    script.write_text(snippet("codesandbox"))
    project = node_project("codesandbox", **{"@codesandbox/sdk": "2.4.2"})
    printed = run_script(project, script, server, CSB_BASE_URL=server.url, CSB_API_KEY=server.api_key).stdout
    assert printed.startswith("Linux")
    assert printed.endswith("hello\n")


def test_freestyle_snippet(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "snippet.mjs"
    script.write_text(snippet("freestyle"))
    project = node_project("freestyle", freestyle="0.1.63")
    settings = {"FREESTYLE_API_URL": server.url, "FREESTYLE_API_KEY": server.api_key}
    printed = run_script(project, script, server, **settings).stdout
    assert printed.startswith("Linux")
    assert printed.endswith("hello\n")
