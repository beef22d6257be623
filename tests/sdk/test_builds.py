"""Real images and Dockerfiles on a real server, with Daytona's SDK and over plain HTTP; and a server that is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from daytona import (
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    Daytona,
    DaytonaConfig,
    DaytonaError,
    Image,
)

from tests.images import Entry, busybox, folder, layout, musl
from tests.registry import PASSWORD, USER, LoopbackRegistry, loopback_registry
from tests.sdk.node import node_project, run_script
from tests.servers import Server, create, execute, open_client, running_server

LONGEST = 60.0  # seconds for a build
STEP_SECONDS = 4


@dataclass
class Workshop:
    """A server and the images that it may fetch, by name."""

    server: Server
    images: dict[str, str]
    registry: LoopbackRegistry
    client: httpx.Client

    def build(self, name: str, dockerfile: str, **body: Any) -> str:
        """The snapshot's id; its build goes on."""
        body = {"name": name, "buildInfo": {"dockerfileContent": dockerfile.format(**self.images)}, **body}
        return self.begun(body)

    def begun(self, body: dict[str, Any]) -> str:
        answer = self.client.post("/api/snapshots", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def ended(self, snapshot: str) -> tuple[str, str | None, str]:
        """State, reason and log, once the build has ended."""
        log = self.client.get(f"/api/snapshots/{snapshot}/build-logs", params={"follow": "true"}, timeout=LONGEST).text
        found = self.client.get(f"/api/snapshots/{snapshot}").json()
        return found["state"], found["errorReason"], log


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    path = tmp_path_factory.mktemp("images")
    with loopback_registry() as registry, loopback_registry(authenticated=True) as private:
        config = {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "WorkingDir": "/root", "Cmd": ["sleep", "1000"]}
        names = {
            "box": registry.push(layout(path / "box", busybox(), config=config), "box:1"),
            "alpine": registry.push(layout(path / "alpine", musl(), config={"Env": ["PATH=/bin"]}), "alpine:1"),
            "empty": registry.push(layout(path / "empty", [Entry("hello", b"x"), folder("data")]), "empty:1"),
            "private": private.push(path / "box", "box:1"),
        }
        settings = {
            "MOONPOOL_REGISTRIES_INSECURE": f"{registry.host},{private.host}",
            "MOONPOOL_BUILD_STEP_SECONDS": str(STEP_SECONDS),
            "MOONPOOL_BUILD_DISK_MIB": "64",
        }
        with running_server(**settings) as server, open_client(server) as client:
            yield Workshop(server, names, registry, client)


@pytest.fixture(scope="module")
def sdk(workshop: Workshop) -> Daytona:
    return Daytona(DaytonaConfig(api_key=workshop.server.api_key, api_url=f"{workshop.server.url}/api"))


class TestImages:
    def test_musl_and_an_image_without_shell(self, workshop: Workshop) -> None:
        snapshots = [workshop.begun({"name": name, "imageName": workshop.images[name]}) for name in ("alpine", "empty")]
        assert [workshop.ended(snapshot)[0] for snapshot in snapshots] == ["active", "active"]
        alpine = create(workshop.client, snapshot="alpine")
        assert "musl libc" in execute(workshop.client, alpine, "/lib/ld-musl-*.so.1 2>&1 || true")
        empty = create(workshop.client, snapshot="empty")
        files = workshop.client.get(f"/toolbox/{empty}/files", params={"path": "/"}).json()
        assert {"hello", "data"} <= {file["name"] for file in files}
        for sandbox in (alpine, empty):
            workshop.client.delete(f"/api/sandbox/{sandbox}")

    def test_a_private_one_with_its_password(self, workshop: Workshop) -> None:
        refused = workshop.ended(workshop.begun({"name": "refused", "imageName": workshop.images["private"]}))
        assert refused[0] == "error"
        assert "does not let us" in (refused[1] or "")
        host = workshop.images["private"].split("/")[0]
        login = {"name": "private", "url": host, "username": USER, "password": PASSWORD}
        workshop.client.post("/api/docker-registry", json=login).raise_for_status()
        state, _, log = workshop.ended(workshop.begun({"name": "let-in", "imageName": workshop.images["private"]}))
        assert state == "active"
        assert PASSWORD not in log + (workshop.server.data / "server.log").read_text()
        for path in workshop.server.data.glob("db.sqlite*"):
            assert PASSWORD.encode() not in path.read_bytes()

    def test_a_sandbox_is_as_its_image_says(self, workshop: Workshop, sdk: Daytona) -> None:
        said: list[str] = []
        dockerfile = (
            f"FROM {workshop.images['box']}\nENV NAME=world\nWORKDIR /srv\nRUN echo hello $NAME > greeting\n"
            "RUN chown app greeting\nUSER app\nWORKDIR own/sub\nRUN touch mine\nWORKDIR /srv\n"
            'ENTRYPOINT ["sh", "-c", "echo ready > /home/app/ready; sleep 1000"]\n'
        )
        path = Path(workshop.server.data) / "Dockerfile.test"
        path.write_text(dockerfile)
        image = Image.from_dockerfile(path)
        sandbox = sdk.create(CreateSandboxFromImageParams(image=image), timeout=60, on_snapshot_create_logs=said.append)
        answer = sandbox.process.exec("id -un; pwd; cat greeting; echo $NAME $FROM_IMAGE; cat /home/app/ready")
        assert answer.result.split() == ["app", "/srv", "hello", "world", "world", "yes", "ready"]
        assert any("RUN echo hello" in line for line in said)
        again = sdk.create(CreateSandboxFromImageParams(image=image), timeout=60)
        assert again.process.exec("cat /srv/greeting").result.strip() == "hello world"
        for each in (sandbox, again):
            each.delete()

    def test_snapshots_by_the_sdk(self, workshop: Workshop, sdk: Daytona) -> None:
        said: list[str] = []
        params = CreateSnapshotParams(
            name="by-sdk", image=Image.base(workshop.images["box"]).run_commands("touch /made")
        )
        made = sdk.snapshot.create(params, on_logs=said.append)
        assert made.state == "active"
        sandbox = sdk.create(CreateSandboxFromSnapshotParams(snapshot="by-sdk"))
        assert sandbox.process.exec("ls /made").exit_code == 0
        sandbox.delete()
        with pytest.raises(DaytonaError, match="RUN false failed with exit code 1"):
            sdk.snapshot.create(
                CreateSnapshotParams(name="bad", image=Image.base(workshop.images["box"]).run_commands("false"))
            )


def test_images_that_the_javascript_sdk_declares(workshop: Workshop) -> None:
    project = node_project("daytona", **{"@daytonaio/sdk": "0.218.0"})
    script = Path(__file__).parent / "daytona_javascript" / "builds.mjs"
    assert run_script(project, script, workshop.server, IMAGE=workshop.images["box"]).stdout == "finished\n"


def moonpool(workshop: Workshop, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MOONPOOL_URL": workshop.server.url, "MOONPOOL_API_KEY": workshop.server.api_key}
    command = [sys.executable, "-m", "moonpool", "image", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST)


class TestCommandLine:
    def test_a_folder_with_its_files(self, workshop: Workshop, tmp_path: Path) -> None:
        (tmp_path / "src").mkdir()
        (tmp_path / "src/main").write_text("of the folder")
        (tmp_path / "secret").write_text("left out")
        (tmp_path / ".dockerignore").write_text("# what is not sent\nsecret\n")
        dockerfile = (
            "FROM {box} AS one\nARG GIVEN\nARG SECOND\nCOPY . /app\n"
            'RUN test ! -e /app/secret && cat /app/src/main && test "$GIVEN" = "a=b c"\nFROM one\nRUN false\n'
        )
        (tmp_path / "Dockerfile").write_text(dockerfile.format(**workshop.images))
        done = moonpool(
            *(workshop, "build", str(tmp_path), "--name", "of-a-folder", "--target", "one", "--no-cache"),
            *("--build-arg", "GIVEN=a=b c", "--build-arg", "SECOND"),
        )
        assert (done.returncode, done.stdout) == (0, "of-a-folder\n"), done.stderr
        assert "of the folder" in done.stderr
        (tmp_path / "Dockerfile").write_text("FROM a\nNO\n")
        done = moonpool(workshop, "build", str(tmp_path), "--name", "bad")
        assert (done.returncode, "line 2" in done.stderr) == (1, True)

    def test_an_image(self, workshop: Workshop) -> None:
        done = moonpool(workshop, "pull", workshop.images["box"], "--name", "pulled")
        assert (done.returncode, done.stdout) == (0, "pulled\n"), done.stderr
        done = moonpool(workshop, "pull", f"{workshop.registry.host}/none:1")
        assert (done.returncode, "There is no image" in done.stderr) == (1, True)


class TestFreestyle:
    def test_a_vm_stands_on_a_dockerfile(self, workshop: Workshop) -> None:
        image = {"dockerfileContent": f"FROM {workshop.images['box']}\nRUN <<'EOF'\necho one > /built\nEOF\nENV V=w\n"}
        vms = []
        for _ in range(2):
            made = workshop.client.post("/v1/vms", json={"baseImage": image})
            assert made.status_code == 200, made.text
            vms.append(made.json())
        assert vms[0]["snapshotId"] == vms[1]["snapshotId"]
        command = {"command": "cat /built; echo $V"}
        told = workshop.client.post(f"/v1/vms/{vms[1]['id']}/exec-await", json=command).json()
        assert told["stdout"].split() == ["one", "w"]
        phases = []
        for vm in vms:
            build = workshop.client.get(f"/v1/vms/{vm['id']}/build").json()
            assert build["state"] == "succeeded"
            assert workshop.client.get(f"/v1/vms/builds/{build['buildId']}").json() == build
            listed = workshop.client.get(f"/v1/vms/builds/{build['buildId']}/phases").json()["phases"]
            phases.append([phase["name"] for phase in listed])
        assert any("] RUN" in name for name in phases[0])
        assert phases[1] == ["base image (cached)"]
        for vm in vms:
            workshop.client.delete(f"/v1/vms/{vm['id']}")

    def test_one_that_cannot_be_built_is_explained(self, workshop: Workshop) -> None:
        image = {"dockerfileContent": f"FROM {workshop.images['box']}\nRUN echo the reason; exit 4\n"}
        answer = workshop.client.post("/v1/vms", json={"spec": {"baseImage": image}})
        assert (answer.status_code, answer.json()["code"]) == (500, "DOCKER_SNAPSHOT_FAILED")
        assert "the reason" in str(answer.json())
        assert "exit code 4" in answer.json()["message"]


class TestDockerfiles:
    def test_stages_and_the_cache(self, workshop: Workshop) -> None:
        text = (
            "FROM {box} AS one\nRUN mkdir /out && echo 1 > /out/a && ln -s /etc/passwd /out/link\n"
            "COPY <<F /out/doc\nx\nF\nFROM {box}\nCOPY --from=one --chown=app:app /out /in\nRUN cat /in/a /in/doc\n"
        )
        state, _, log = workshop.ended(workshop.build("first", text))
        assert (state, log.count("CACHED")) == ("active", 1)
        again = workshop.ended(workshop.build("second", text))[2]
        assert again.count("CACHED") == 5
        edited = workshop.ended(workshop.build("third", text + "RUN echo last\n"))[2]
        assert edited.count("CACHED") == 5
        assert "last" in edited

    def test_a_step_has_neither_the_host_nor_what_others_left(self, workshop: Workshop) -> None:
        text = "FROM {box}\nRUN sleep 1000 & true\nRUN ! cat /proc/[0-9]*/comm | grep sleep\n"
        assert workshop.ended(workshop.build("alone", text))[0] == "active"

    def test_mounts_are_there_for_their_step_alone(self, workshop: Workshop, tmp_path: Path) -> None:
        (tmp_path / "lock").write_text("of the lock\n")
        (tmp_path / "src").mkdir()
        (tmp_path / "src/main").write_text("of main\n")
        text = (
            "FROM {box} AS made\nRUN mkdir /out && echo of the stage > /out/a\n"
            "FROM {box}\nWORKDIR /srv\nRUN mkdir /there && echo before > /there/lock\n"
            "RUN --mount=type=bind,source=lock,target=/there/lock --mount=type=bind,target=. \\\n"
            "    --mount=from=made,source=/out,target=/new/deep,rw --mount=type=cache,target=/cache \\\n"
            "    --mount=type=tmpfs,target=/m \\\n"
            "    cat /there/lock src/main /new/deep/a > /seen && ! touch src/x && touch /new/deep/x /m/x && \\\n"
            "    date >> /cache/dates\n"
            "RUN cat /there/lock >> /seen && ls -a / /srv >> /seen\n"
        )
        again = "RUN --mount=type=cache,target=/cache date >> /cache/dates; cat /cache/dates > /dates\n"
        (tmp_path / "Dockerfile").write_text((text + again).format(**workshop.images))
        done = moonpool(workshop, "build", str(tmp_path), "--name", "mounts")
        assert done.returncode == 0, done.stderr
        sandbox = create(workshop.client, snapshot="mounts")
        seen = execute(workshop.client, sandbox, "cat /seen").split()
        assert " ".join(seen[:9]) == "of the lock of main of the stage before"
        assert not {"new", "cache", "m", "src", ".step"} & set(seen)
        assert len(execute(workshop.client, sandbox, "cat /dates").splitlines()) == 2
        workshop.client.delete(f"/api/sandbox/{sandbox}")
        volumes = workshop.server.data / "pool" / "volumes"
        assert not [path for path in volumes.iterdir() if path.name.startswith("step-")]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (
                "FROM {box}\nRUN echo why >&2; exit 3\n",
                "Dockerfile line 2: RUN echo why >&2; exit 3 failed with exit code 3",
            ),
            ("FROM {box}\n\nRUN sleep 100\n", "did not end within 4 seconds"),
            ("FROM {box}\nRUN dd if=/dev/urandom of=/big bs=1M count=200\n", "failed with exit code 1"),
            ("FROM {box}\nUSER nobody-here\nRUN true\n", "no such user"),
            ("FROM {empty}\nRUN true\n", "cannot be run"),
            ("FROM {box}\nCOPY nothing /x\n", "nothing is not there"),
            ("FROM {box}\nCOPY --from=nowhere /a /x\n", "nowhere"),
        ],
    )
    def test_what_fails_says_why(self, workshop: Workshop, text: str, reason: str) -> None:
        name = f"fails-{abs(hash(text))}"
        state, told, log = workshop.ended(workshop.build(name, text))
        assert (state, reason in (told or "")) == ("build_failed", True), told
        assert told in log

    def test_a_step_that_fills_the_disk_is_told_in_its_own_words(self, workshop: Workshop) -> None:
        text = "FROM {box}\nRUN dd if=/dev/urandom of=/big bs=1M count=200 || (rm -f /big; false)\n"
        log = workshop.ended(workshop.build("full", text))[2]
        assert "quota exceeded" in log or "No space left" in log


def test_a_server_that_is_killed_goes_on_from_the_last_step(workshop: Workshop) -> None:
    text = "FROM {box}\nRUN date > /first; echo first-step\nRUN echo second-step; sleep 3; echo second-is-over\n"
    snapshot = workshop.build("killed", text)
    with workshop.client.stream("GET", f"/api/snapshots/{snapshot}/build-logs", params={"follow": "true"}) as log:
        seen = ""
        for piece in log.iter_text():
            seen += piece
            if "second-step\n" in seen.replace("echo second-step", ""):
                break
        workshop.server.kill()
    workshop.server.start_again()
    state, _, whole = workshop.ended(snapshot)
    assert state == "active"
    assert whole.replace("echo first-step", "").count("first-step") == 1
    assert "second-is-over\n" in whole
    layers = subprocess.run(
        ["ls", workshop.server.data / "pool" / "staging"], capture_output=True, text=True, check=True
    )
    assert layers.stdout == ""
