"""Images that skopeo pushes to a real server, and sandboxes of them by Daytona's SDK."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from daytona import CreateSandboxFromImageParams, CreateSnapshotParams, Daytona, DaytonaConfig, Image

from tests.images import busybox, layout
from tests.servers import Server, open_client

CONFIG = {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "WorkingDir": "/home/app", "User": "app:50"}


@dataclass
class Pusher:
    server: Server
    client: httpx.Client
    given: dict[str, str]
    image: Path

    @property
    def name(self) -> str:
        return f"{self.given['registryUrl']}/{self.given['project']}"

    def skopeo(self, *arguments: str, secret: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Its copy, of the image to ``arguments``' last or as they say."""
        login = f"{self.given['username']}:{self.given['secret'] if secret is None else secret}"
        command = ["skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "--src-tls-verify=false"]
        return subprocess.run(
            [*command, f"--dest-creds={login}", f"--src-creds={login}", *arguments], capture_output=True, text=True
        )

    def push(self, name: str, secret: str | None = None) -> "subprocess.CompletedProcess[str]":
        return self.skopeo(f"oci:{self.image}:image", f"docker://{self.name}/{name}", secret=secret)


@pytest.fixture(scope="module")
def pusher(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pusher]:
    image = layout(tmp_path_factory.mktemp("images") / "box", busybox(), config=CONFIG)
    with open_client(server) as client:
        given = client.get("/api/docker-registry/registry-push-access").raise_for_status().json()
        yield Pusher(server, client, given, image)


@pytest.fixture(scope="module")
def sdk(pusher: Pusher) -> Daytona:
    return Daytona(DaytonaConfig(api_key=pusher.server.api_key, api_url=f"{pusher.server.url}/api"))


def test_from_a_push_to_a_sandbox(pusher: Pusher, sdk: Daytona, tmp_path: Path) -> None:
    pushed = pusher.push("box:1")
    assert pushed.returncode == 0, pushed.stderr
    snapshot = sdk.snapshot.create(CreateSnapshotParams(name="box", image=f"{pusher.name}/box:1"))
    assert snapshot.state == "active"
    # A Dockerfile's base, and without any registry being named to the server.
    image = Image.base(f"{pusher.name}/box:1").dockerfile_commands(["RUN id -G > /home/app/built"])
    sandbox = sdk.create(CreateSandboxFromImageParams(image=image))
    try:
        ran = sandbox.process.exec("echo $FROM_IMAGE; id -un; id -G; cat built; pwd")
        assert ran.result.split() == ["yes", "app", "50", "50", "/home/app"]
    finally:
        sandbox.delete()
    pulled = pusher.skopeo(f"docker://{pusher.name}/box:1", f"oci:{tmp_path / 'again'}:image")
    assert pulled.returncode == 0, pulled.stderr
    again = {path.name for path in (tmp_path / "again" / "blobs" / "sha256").iterdir()}
    assert again == {path.name for path in (pusher.image / "blobs" / "sha256").iterdir()}


def test_who_is_not_let_in(pusher: Pusher) -> None:
    wrong = pusher.push("box:2", secret="wrong")
    assert wrong.returncode != 0
    assert "unauthorized" in wrong.stderr.lower()
    elsewhere = pusher.skopeo(f"oci:{pusher.image}:image", f"docker://{pusher.given['registryUrl']}/other/box:1")
    assert elsewhere.returncode != 0
    assert "403 (Forbidden)" in elsewhere.stderr
    snapshot = pusher.client.post(
        "/api/snapshots", json={"name": "theirs", "imageName": f"{pusher.given['registryUrl']}/other/box:1"}
    ).json()
    pusher.client.get(f"/api/snapshots/{snapshot['id']}/build-logs", params={"follow": "true"})
    found = pusher.client.get("/api/snapshots/theirs").json()
    assert (found["state"], "this server's own machine" in found["errorReason"]) == ("error", True)


def test_pushes_and_refusals_are_in_the_audit_log(pusher: Pusher) -> None:
    assert pusher.push("noted:1").returncode == 0
    path = f"/v2/{pusher.given['project']}/noted/manifests/1"
    login = (pusher.given["username"], pusher.given["secret"])
    assert httpx.delete(f"{pusher.server.url}{path}", auth=login, trust_env=False).status_code == 202
    assert httpx.get(f"{pusher.server.url}{path}", auth=("x", "y"), trust_env=False).status_code == 401
    target = f"{pusher.given['project']}/noted:1"
    organization = pusher.given["project"]
    noted = pusher.client.get(f"/api/audit/organizations/{organization}").json()["items"]
    deeds = {(entry["action"], entry["targetType"]) for entry in noted if entry.get("targetId") == target}
    assert deeds == {("push", "image"), ("delete", "image")}
    assert pusher.given["secret"] not in (pusher.server.data / "server.log").read_text()
