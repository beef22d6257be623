"""What CodeSandbox's users do without connecting to a sandbox: with the SDK, and with the command ``csb``."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.images import debian_package
from tests.sdk.node import run_script
from tests.servers import Server, execute

FOLDER = Path(__file__).parent
TIMEOUT = 120  # seconds
SANDBOX_ID = re.compile(r"\b[a-z][a-z0-9]{19}\b")


@pytest.mark.parametrize("scenario", ["sandboxes", "api"])
def test_sdk_without_connections(server: Server, codesandbox_sdk: Path, scenario: str) -> None:
    run_script(codesandbox_sdk, FOLDER / f"scenario_{scenario}.mjs", server)


@dataclass
class Csb:
    """The vendor's command, pointed at the server by the two variables that it knows."""

    project: Path
    server: Server

    def __call__(self, *arguments: str, given: str = "") -> str:
        variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        variables |= {"CSB_API_KEY": self.server.api_key, "CSB_BASE_URL": self.server.url, "CI": "true"}
        variables["NODE_COMPILE_CACHE"] = str(self.project / ".compiled")  # It is four megabytes of JavaScript.
        program = self.project / "node_modules/@codesandbox/sdk/dist/bin/codesandbox.mjs"
        done = subprocess.run(
            [str(Path(sys.prefix) / "bin/node"), str(program), *arguments],
            env=variables,
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def csb(server: Server, codesandbox_sdk: Path) -> Csb:
    return Csb(codesandbox_sdk, server)


@pytest.fixture
def rest(server: Server) -> Iterator[httpx.Client]:
    """The dashboard needs a terminal; what it asks does not."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def test_command_line(csb: Csb, rest: httpx.Client, tmp_path: Path) -> None:
    """Lines of commands side by side: most of a command's time is its start."""
    with ThreadPoolExecutor() as pool:
        lines = [pool.submit(line, csb, rest) for line in (sandboxes, host_tokens, preview_hosts)]
        for work in (build, build_image):
            folder = tmp_path / work.__name__
            folder.mkdir()
            lines.append(pool.submit(work, csb, rest, folder))
        for line in lines:
            line.result()


def sandboxes(csb: Csb, rest: httpx.Client) -> None:
    first = csb("sandboxes", "fork", "pcz35m").split()[-1]
    second = rest.post(f"/sandbox/{first}/fork", json={"tags": ["sdk"], "privacy": 2}).json()["data"]["id"]
    try:
        listed = csb("sandboxes", "list", "-o", "id,privacy,tags", "--tags", "sdk", "--status", "running")
        assert {f"{first}\tprivate\tsdk", f"{second}\tprivate\tsdk"} <= set(listed.splitlines())
        assert "all 2 sandboxes" in csb("sandboxes", "hibernate", given=f"{first}\n{second}\n")
        assert not running(rest) & {first, second}
        assert "shutdown successfully" in csb("sandboxes", "shutdown", first)
        for bootup in ("CLEAN", "RUNNING"):
            assert rest.post(f"/vm/{first}/start", json={}).json()["data"]["bootup_type"] == bootup
        assert rest.get(f"/sandbox/{first}").json()["data"]["id"] == first
        assert first in running(rest)
    finally:
        for sandbox in (first, second):
            rest.delete(f"/vm/{sandbox}").raise_for_status()


def running(rest: httpx.Client) -> set[str]:
    """As the dashboard asks every two seconds."""
    return {vm["id"] for vm in rest.get("/vm/running").json()["data"]["vms"]}


def host_tokens(csb: Csb, rest: httpx.Client) -> None:
    sandbox = rest.post("/sandbox/pcz35m/fork", json={}).json()["data"]["id"]
    try:
        assert "prv_v1_" in csb("host-tokens", "create", sandbox, "--expires-at", "2090-01-01T00:00:00Z")
        token = rest.get(f"/sandbox/{sandbox}/tokens").json()["data"]["tokens"][0]["token_id"]
        assert token in csb("host-tokens", "list", sandbox)
        assert "updated successfully" in csb("host-tokens", "update", sandbox, token)
        assert rest.get(f"/sandbox/{sandbox}/tokens").json()["data"]["tokens"][0]["expires_at"] is None
        assert "revoked successfully" in csb("host-tokens", "revoke", sandbox, token)
        assert "have been revoked" in csb("host-tokens", "revoke", sandbox, "--all")
        assert rest.get(f"/sandbox/{sandbox}/tokens").json()["data"]["tokens"] == []
    finally:
        rest.delete(f"/vm/{sandbox}").raise_for_status()


def preview_hosts(csb: Csb, _: httpx.Client) -> None:
    assert "Added" in csb("preview-hosts", "add", "https://example.com")
    assert csb("preview-hosts", "list").strip() == "https://example.com"


def build(csb: Csb, rest: httpx.Client, folder: Path) -> None:
    """A template made of a folder with a setup task, under an alias; then forked by that, with its memory."""
    (folder / ".codesandbox").mkdir()
    tasks = {"setupTasks": [{"name": "Prepare", "command": "echo prepared > prepared.txt"}], "tasks": {}}
    (folder / ".codesandbox/tasks.json").write_text(json.dumps(tasks))
    (folder / "index.js").write_text("console.log('built')")
    printed = csb("build", str(folder), "--ci", "--alias", "my@v1", "--vm-tier", "Nano")
    assert "my@v1" in printed
    forked = rest.post("/sandbox/my@v1/fork", json={"start_options": {}}).json()["data"]
    assert forked["start_response"]["bootup_type"] == "FORK"
    shown = execute(rest, forked["id"], "cd /project/workspace && cat prepared.txt && node index.js")
    assert shown == "prepared\nbuilt\n"
    remove(rest, forked["id"], printed)


def build_image(csb: Csb, rest: httpx.Client, folder: Path) -> None:
    """As ``build``, in an image of the folder's own, which has nothing but a shell and what its Dockerfile adds."""
    (folder / ".codesandbox").mkdir()
    tasks = {"setupTasks": [{"name": "Prepare", "command": "cat /built > prepared.txt"}], "tasks": {}}
    (folder / ".codesandbox/tasks.json").write_text(json.dumps(tasks))
    shutil.copy(debian_package("busybox-static") / "bin/busybox", folder / ".codesandbox/busybox")
    (folder / ".codesandbox/Dockerfile").write_text(
        'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
        "COPY <<FILE /etc/passwd\nroot:x:0:0:root:/root:/bin/sh\nFILE\nRUN echo by the Dockerfile > /built\n"
    )
    (folder / "kept.txt").write_text("kept")
    printed = csb("build", str(folder), "--ci", "--alias", "own@v1")
    forked = rest.post("/sandbox/own@v1/fork", json={"start_options": {}}).json()["data"]["id"]
    shown = execute(
        rest, forked, "cd /project/workspace && cat prepared.txt kept.txt; test -e /usr/bin/node || echo none"
    )
    assert shown == "by the Dockerfile\nkeptnone\n"
    remove(rest, forked, printed)


def remove(rest: httpx.Client, forked: str, printed: str) -> None:
    """The fork, and what the command made; two of them may be at work at once."""
    for sandbox in {forked, *SANDBOX_ID.findall(printed)}:
        rest.delete(f"/vm/{sandbox}").raise_for_status()
