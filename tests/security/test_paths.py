"""Paths that want out of where they belong, or that no file system takes; transfers that break off."""

import contextlib
import http.client
import json
import os
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox, create
from tests.faults.uploads import left_on_disk, wait_for
from tests.servers import Server, open_client

MEGABYTE = 1 << 20
IMPOSSIBLE = ("/tmp/a%00b", "%00", "/tmp/" + "x" * 300, "/tmp/" + "y/" * 3000)
FOLDER = "/home/daytona/transfers"
WATCHED = f"find {FOLDER} /tmp /home/wrenn-user -mindepth 1 -newer /home/daytona/mark | sort"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with open_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def box(client: httpx.Client) -> Iterator[Sandbox]:
    sandbox = create(client)
    yield sandbox
    sandbox.destroy()


@pytest.fixture(autouse=True)
def empty_folder(box: Sandbox) -> None:
    box.run(f"sudo rm -rf {FOLDER} && mkdir {FOLDER} && touch /home/daytona/mark && sleep 0.01")


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=["NUL", "only NUL", "long name", "long path"])
def test_paths_that_cannot_be(client: httpx.Client, box: Sandbox, path: str) -> None:
    for verb in ("", "/info", "/download"):
        refused(client.get(f"{box.toolbox}/files{verb}?path={path}"), 400)
    refused(client.delete(f"{box.toolbox}/files?path={path}"), 400)
    refused(client.post(f"{box.toolbox}/files/folder?path={path}&mode=755"), 400)
    refused(client.post(f"{box.toolbox}/files/move?source={path}&destination=/tmp/x"), 400)
    refused(client.post(f"{box.toolbox}/files/move?source={FOLDER}&destination={path}"), 400)
    refused(client.post(f"{box.toolbox}/files/permissions?path={path}&mode=644"), 400)
    refused(client.get(f"{box.toolbox}/files/find?path={path}&pattern=x"), 400)
    refused(client.get(f"{box.toolbox}/files/search?path={path}&pattern=x"), 400)
    refused(client.post(f"{box.toolbox}/files/upload?path={path}", content=b"x"), 400)
    plain = path.replace("%00", "\0")
    for verb in ("read", "list", "mkdir", "remove"):
        refused(client.post(f"{box.capsule}/files/{verb}", json={"path": plain}), 400)
    form = {"path": (None, plain), "file": ("x", b"x")}
    refused(client.post(f"{box.capsule}/files/write", files=form), 400)
    answer = client.post(
        f"{box.toolbox}/files/bulk-upload", files={"files[0].path": (None, plain), "files[0].file": b"x"}
    )
    assert answer.status_code == 400


def test_the_way_up_ends_at_the_sandboxes_root(server: Server, client: httpx.Client, box: Sandbox) -> None:
    up = "/" + "../" * 60
    for name in (
        f"{up}etc/hostname",
        f"/tmp{up}etc/hostname",
        "/proc/self/root/etc/hostname",
        "/proc/1/root/etc/hostname",
    ):
        answer = client.get(f"{box.toolbox}/files/download", params={"path": name})
        assert answer.status_code in (400, 403) or answer.text.strip() == box.id, name
    refused(client.get(f"{box.toolbox}/files/download", params={"path": f"{up}{server.data}/db.sqlite"}), 404)
    refused(client.post(f"{box.capsule}/files/read", json={"path": f"{up}{server.data}/db.sqlite"}), 404)


def test_links_lead_nowhere_else(server: Server, client: httpx.Client, box: Sandbox) -> None:
    box.run(f"ln -s {server.data}/db.sqlite {FOLDER}/link && ln -s loop {FOLDER}/loop")
    refused(client.get(f"{box.toolbox}/files/download?path={FOLDER}/link"), 404)
    refused(client.get(f"{box.toolbox}/files/download?path={FOLDER}/loop"), 400)
    refused(client.post(f"{box.capsule}/files/read", json={"path": f"{FOLDER}/link"}), 404)


def test_what_is_no_file(client: httpx.Client, box: Sandbox) -> None:
    for path in ("/etc", "/tmp", "/proc", FOLDER):
        refused(client.get(f"{box.toolbox}/files/download", params={"path": path}), 400)
        refused(client.post(f"{box.capsule}/files/read", json={"path": path}), 400)
    for path in ("/etc", "/etc/hostname/below", "/proc/nothing"):
        refused(client.post(f"{box.toolbox}/files/upload?path={path}", content=b"x"), 400, 403, 404)
    box.run(f"mkfifo {FOLDER}/pipe")  # Nobody writes to it, and nobody waits for that.
    assert accepted(client.get(f"{box.toolbox}/files/download?path={FOLDER}/pipe")).content == b""
    assert accepted(client.post(f"{box.capsule}/files/read", json={"path": f"{FOLDER}/pipe"})).content == b""


@pytest.mark.parametrize("way", ["raw", "form", "bulk", "capsule"])
def test_an_upload_that_is_cut_off_leaves_nothing(server: Server, box: Sandbox, way: str) -> None:
    target = f"{FOLDER}/cut"
    form = "multipart/form-data; boundary=b"
    head = {
        "raw": (f"{box.toolbox}/files/upload?path={target}", "application/octet-stream", ""),
        "form": (f"{box.toolbox}/files/upload?path={target}", form, part("file", "x")),
        "bulk": (
            f"{box.toolbox}/files/bulk-upload",
            form,
            part("files[0].path") + target + "\r\n" + part("files[0].file", "x"),
        ),
        "capsule": (f"{box.capsule}/files/write", form, part("path") + target + "\r\n" + part("file", "x")),
    }[way]
    path, kind, beginning = head
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    connection.putrequest("POST", path)
    for name, value in (
        ("Authorization", f"Bearer {server.api_key}"),
        ("Content-Type", kind),
        ("Content-Length", str(64 * MEGABYTE)),
    ):
        connection.putheader(name, value)
    connection.endheaders(beginning.encode() + b"x" * 8 * MEGABYTE)
    wait_for(lambda: bool(left_on_disk(server, box)))  # Large files are laid there from outside.
    assert box.run(f"ls -A {FOLDER}") == ""
    connection.close()
    wait_for(lambda: not left_on_disk(server, box))
    assert box.run(f"ls -A {FOLDER}; {WATCHED}", timeout=60) == ""


def part(name: str, filename: str | None = None) -> str:
    more = f'; filename="{filename}"' if filename else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'


def test_an_upload_that_ends_too_early_leaves_the_old_file(client: httpx.Client, box: Sandbox) -> None:
    box.run(f"echo old > {FOLDER}/kept")
    body = part("file", "x") + "new"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(client.post(f"{box.toolbox}/files/upload?path={FOLDER}/kept", content=body, headers=headers), 400)
    body = part("path") + f"{FOLDER}/kept\r\n" + part("file", "x") + "new"
    refused(client.post(f"{box.capsule}/files/write", content=body, headers=headers), 400)
    assert box.run(f"cat {FOLDER}/kept; rm {FOLDER}/kept; ls -A {FOLDER}") == "old\n"


@pytest.mark.parametrize("way", ["toolbox", "capsule"])
@pytest.mark.parametrize("folder", [FOLDER, "/dev/shm"])  # read from the disk, and by the agent
def test_a_download_whose_client_goes_away_ends(server: Server, box: Sandbox, way: str, folder: str) -> None:
    """Whoever reads the file has it open for as long as it is sent, and no longer."""
    big = f"{folder}/big"
    box.run(f"truncate -s {1 << 40} {big}")
    open_in_agent = f"sudo ls -l /proc/1/fd | grep -c {big}"

    def is_open() -> bool:
        by_agent = box.try_run(open_in_agent).json()["result"].strip() == "1"
        return by_agent or any(path.endswith(f"{box.id}{big}") for path in open_files(server))

    method, path, body = {
        "toolbox": ("GET", f"{box.toolbox}/files/download?path={big}", None),
        "capsule": ("POST", f"{box.capsule}/files/read", json.dumps({"path": big})),
    }[way]
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    with contextlib.closing(connection):
        connection.request(
            method, path, body, {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(answer.read(MEGABYTE)) == MEGABYTE
        assert is_open()
        answer.close()
    wait_for(lambda: not is_open())
    box.run(f"rm {big}")


def open_files(server: Server) -> list[str]:
    found = []
    for descriptor in os.listdir(f"/proc/{server.process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{server.process.pid}/fd/{descriptor}"))
    return found


def test_names_that_are_not_text(client: httpx.Client, box: Sandbox) -> None:
    """Whatever bytes a file's name has, lists show it and JSON stays JSON."""
    box.run(f"touch $'{FOLDER}/\\xff\\xfe' $'{FOLDER}/new\\nline' {FOLDER}/'<script>'")
    assert len(accepted(client.get(f"{box.toolbox}/files?path={FOLDER}")).json()) == 3
    assert len(accepted(client.post(f"{box.capsule}/files/list", json={"path": FOLDER})).json()["entries"]) == 3
