"""Git repositories behind HTTP on loopback, by git's own ``http-backend``, for those who know the password."""

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USERNAME, PASSWORD = "reader", "s3cret-Token"


@dataclass
class GitServer:
    """``seen``: the Authorization headers of each request, "" where there was none."""

    url: str
    root: Path
    seen: list[str] = field(default_factory=list)

    def repository(self, name: str, files: dict[str, str]) -> Path:
        """A bare repository with one commit on its branch main."""
        bare, work = self.root / name, self.root / f"{name}.work"
        git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        git("clone", "--quiet", str(bare), str(work))
        for path, content in files.items():
            (work / path).write_text(content)
        self.commit(work, "first")
        return bare

    @staticmethod
    def commit(work: Path, message: str) -> None:
        who = ("-c", "user.name=Tests", "-c", "user.email=tests@example.org")
        git("-C", str(work), "add", ".")
        git("-C", str(work), *who, "commit", "--quiet", "-m", message)
        git("-C", str(work), "push", "--quiet", "origin", "HEAD:main")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


@contextmanager
def git_server(root: Path) -> Iterator[GitServer]:
    """Repositories below ``private/`` want the password; those below ``forbidden/`` are nobody's."""
    served: GitServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.body())

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(chunks)

        def answer(self, body: bytes) -> None:
            given = self.headers.get("Authorization", "")
            served.seen.append(given)
            if self.path.startswith("/forbidden/"):
                self.send_error(403)
                return
            expected = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
            if self.path.startswith("/private/") and given != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.backend(body)

        def backend(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            variables = {
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "REMOTE_USER": USERNAME,
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": "http.receivepack",
                "GIT_CONFIG_VALUE_0": "true",
                "GIT_CONFIG_KEY_1": "safe.directory",
                "GIT_CONFIG_VALUE_1": "*",
                "PATH": "/usr/bin:/bin",
            }
            ran = subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=False)
            head, _, content = ran.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = GitServer(f"http://127.0.0.1:{server.server_port}", root)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
