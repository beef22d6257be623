"""What ADD fetches: its script, run here, against a server of files and one of repositories."""

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moonpool.builds.dockerfile import parse
from moonpool.builds.remotes import FOLDER, remote_of
from tests.contract.git_server import GitServer, git, git_server


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a b").write_text("content")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "repositories").mkdir()
    with git_server(tmp_path / "repositories") as server:
        bare = server.repository("r.git", {"x": "one\n"})
        git("-C", str(bare), "tag", "v1")
        work = bare.with_name("r.git.work")
        (work / "x").write_text("two\n")
        server.commit(work, "second")
        yield server


def fetched(words: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """In a folder of the test's own instead of the sandbox's."""
    (instruction,) = parse(f"FROM x\nADD {words} /to\n", {}).stages[0].instructions
    script = remote_of(instruction, instruction.words[0]).script.replace(FOLDER, str(tmp_path / "got"))
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)


def test_a_file(files: str, tmp_path: Path) -> None:
    assert fetched(f"{files}/a%20b", tmp_path).returncode == 0
    assert (tmp_path / "got/a b").read_text() == "content"
    assert (tmp_path / "got/a b").stat().st_mode & 0o777 == 0o600


def test_one_that_is_not_there_or_another(files: str, tmp_path: Path) -> None:
    missing = fetched(f"{files}/none", tmp_path)
    assert (missing.returncode, "404" in missing.stderr) == (22, True)
    (tmp_path / "got").rmdir()
    other = fetched(f"--checksum=sha256:{'0' * 64} {files}/a%20b", tmp_path)
    assert other.returncode == 1
    assert hashlib.sha256(b"content").hexdigest() in other.stderr


@pytest.mark.parametrize(("fragment", "content"), [("", "two\n"), ("#v1", "one\n"), ("#main:docs", "two\n")])
def test_a_repository(repositories: GitServer, tmp_path: Path, fragment: str, content: str) -> None:
    done = fetched(f"{repositories.url}/r.git{fragment}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got/x").read_text() == content
    assert not (tmp_path / "got/.git").exists()
