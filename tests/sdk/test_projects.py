"""Projects as people have them, built with a registry on loopback and no other network: what they need comes along."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from moonpool.builds.dockerfile import parse
from tests.images import busybox, debian, layout, musl
from tests.registry import loopback_registry
from tests.sdk.node import CACHE, node_project
from tests.servers import Server, create, execute, open_client, running_server

ROOT = Path(__file__).parents[2]
LONGEST = 120.0  # seconds for a build
FLASK, VITE = "3.0.3", "5.4.11"


@dataclass
class Yard:
    server: Server
    client: httpx.Client
    images: dict[str, str]

    def build(self, folder: Path, name: str) -> None:
        """With the command line, as ``docker build`` is used."""
        (folder / "Dockerfile").write_text((folder / "Dockerfile").read_text().format(**self.images))
        program = Path(sys.prefix) / "bin" / "moonpool"
        variables = {"MOONPOOL_URL": self.server.url, "MOONPOOL_API_KEY": self.server.api_key}
        done = subprocess.run(
            [program, "image", "build", str(folder), "--name", name],
            env={**self.server.environment, **variables},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def sandbox(self, snapshot: str) -> str:
        return create(self.client, snapshot=snapshot)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    path = tmp_path_factory.mktemp("images")
    with loopback_registry() as registry:
        images = {
            "debian": registry.push(debian(path / "debian"), "debian:12"),
            "alpine": registry.push(layout(path / "alpine", musl()), "alpine:3"),
            "box": registry.push(layout(path / "box", busybox(), config={"Env": ["PATH=/bin"]}), "box:1"),
        }
        shutil.rmtree(path)
        with (
            running_server(MOONPOOL_REGISTRIES_INSECURE=registry.host, MOONPOOL_BUILD_DISK_MIB="4096") as server,
            open_client(server) as client,
        ):
            yield Yard(server, client, images)


def wheels() -> Path:
    """Flask and what it needs, fetched once."""
    folder = CACHE / f"flask-{FLASK}"
    if not folder.is_dir():
        fresh = folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        pip = [str(ROOT / ".venv-uv/bin/python"), "-m", "pip", "download", "-q", "-d", str(fresh)]
        subprocess.run([*pip, "--only-binary=:all:", "--python-version=3.11", f"flask=={FLASK}"], check=True)
        fresh.rename(folder)
    return folder


def test_a_flask_app(yard: Yard, tmp_path: Path) -> None:
    shutil.copytree(wheels(), tmp_path / "wheels")
    (tmp_path / "app.py").write_text(
        'from flask import Flask\napp = Flask(__name__)\n@app.get("/")\ndef hello():\n    return "hello from Flask"\n'
    )
    (tmp_path / "Dockerfile").write_text(
        "FROM {debian}\nWORKDIR /srv\nCOPY wheels wheels\n"
        "RUN pip install -q --break-system-packages --no-index --find-links wheels flask\n"
        'COPY app.py .\nEXPOSE 5000\nCMD ["flask", "run", "--port", "5000"]\n'
    )
    yard.build(tmp_path, "flask")
    made = yard.sandbox("flask")
    fetch = "until curl -sf http://127.0.0.1:5000/; do sleep 0.1; done"
    assert execute(yard.client, made, fetch) == "hello from Flask"


def test_a_vite_app(yard: Yard, tmp_path: Path) -> None:
    """What is served at last is an image without Node."""
    project = node_project("vite", vite=VITE)
    shutil.copytree(project / "node_modules", tmp_path / "node_modules", symlinks=True)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module", "scripts": {"build": "vite build"}}))
    (tmp_path / "index.html").write_text('<div id="app"></div><script type="module" src="/main.js"></script>')
    (tmp_path / "main.js").write_text('document.querySelector("#app").textContent = "built by Vite"')
    (tmp_path / "Dockerfile").write_text(
        "FROM {debian} AS build\nWORKDIR /app\nCOPY . .\nRUN npm run build\n"
        "FROM {box}\nCOPY --from=build /app/dist /www\n"
    )
    yard.build(tmp_path, "vite")
    made = yard.sandbox("vite")
    assert "built by Vite" in execute(yard.client, made, "cat /www/assets/*.js")
    assert execute(yard.client, made, "test -e /usr/bin/node || echo none") == "none\n"


def test_an_alpine_tool(yard: Yard, tmp_path: Path) -> None:
    """A program without a C library, on musl: Alpine's own packages cannot be had here."""
    esbuild = node_project("vite", vite=VITE) / "node_modules/@esbuild"
    (binary,) = esbuild.glob("linux-*/bin/esbuild")
    shutil.copy(binary, tmp_path / "esbuild")
    (tmp_path / "Dockerfile").write_text(
        "FROM {alpine}\nCOPY --chmod=755 esbuild /bin/esbuild\nENV PATH=/bin\n"
        "RUN echo 'let x: number = 6 * 7; console.log(x)' > /in.ts && esbuild /in.ts --outfile=/out.js\n"
        'ENTRYPOINT ["esbuild", "--version"]\n'
    )
    yard.build(tmp_path, "tool")
    shown = execute(yard.client, yard.sandbox("tool"), "cat /etc/os-release /out.js")
    assert "ID=alpine" in shown
    assert "let x = 6 * 7" in shown


def test_moonpools_own_dockerfile() -> None:
    """It is read without a mistake, and all that it copies is there: its packages need the network, as sandboxes here
    have none."""
    file = parse((ROOT / "Dockerfile").read_text(), {})
    assert [stage.base for stage in file.stages] == ["debian:12-slim", "environment"]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in file.stages:
        for instruction in stage.instructions:
            words: list[Any] = instruction.text.split()
            if words[0] == "COPY":
                for source in words[1:-1]:
                    assert (ROOT / source).exists(), source
                    assert source.partition("/")[0] in let_in, source
