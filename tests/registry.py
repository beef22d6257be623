"""Debian's docker-registry on loopback, with and without a password, out of its package: nothing is installed."""

import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.images import debian_package
from tests.ports import free_port

USER, PASSWORD = "builder", "s3cret-of-the-registry"
# bcrypt of PASSWORD, which is the only kind that the registry takes.
HTPASSWD = f"{USER}:$2b$05$GAXlvXQ6dI/fjr7O1Mnxye85/iFr/3X97iBw0LHdKDEegu3/VKaq2\n"


@dataclass
class LoopbackRegistry:
    """``host`` is localhost:PORT."""

    host: str
    folder: Path
    authenticated: bool

    def push(self, layout: Path, name: str, *, tag: str = "image", all: bool = False, docker: bool = False) -> str:
        """The reference under which the image is there; ``docker``: in Docker's own form."""
        reference = f"{self.host}/{name}"
        login = ["--dest-creds", f"{USER}:{PASSWORD}"] if self.authenticated else []
        command = [
            "skopeo",
            "--insecure-policy",
            "copy",
            *(["--all"] if all else []),
            *(["--format", "v2s2"] if docker else []),
            "--dest-tls-verify=false",
            *login,
        ]
        subprocess.run(
            [*command, f"oci:{layout}:{tag}", f"docker://{reference}"], check=True, stdout=subprocess.DEVNULL
        )
        return reference

    def blobs(self) -> list[Path]:
        """Where what is pushed is kept."""
        return sorted((self.folder / "docker/registry/v2/blobs").rglob("data"))


@contextmanager
def loopback_registry(*, authenticated: bool = False) -> Iterator[LoopbackRegistry]:
    program = debian_package("docker-registry") / "usr/bin/docker-registry"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder, port = Path(name), free_port()
        settings: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        if authenticated:
            (folder / "htpasswd").write_text(HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML.
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
        try:
            wait_until_open(port, server)
            yield LoopbackRegistry(f"localhost:{port}", folder, authenticated)
        finally:
            server.terminate()
            server.wait()


def wait_until_open(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Another process: its only sign is that it answers."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            continue
        return
    raise RuntimeError("docker-registry ended")
