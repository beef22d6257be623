"""A push that is cut off: by the server's end, and at every step that it takes on disk."""

import base64
import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from moonpool.registry.folder import TeamFolder
from tests.faults.cut_off_images import PARTS, manifest, push, sha256
from tests.servers import Server

MEBIBYTE = 1 << 20


def test_an_upload_outlives_the_server(server: Server, client: httpx.Client) -> None:
    given = client.get("/api/docker-registry/registry-push-access").raise_for_status().json()
    content = os.urandom(3 * MEBIBYTE)
    digest = hashlib.sha256(content).hexdigest()
    login = (given["username"], given["secret"])
    blobs = server.data / "registry" / given["project"] / "blobs"
    begun = client.post(f"/v2/{given['project']}/big/blobs/uploads/", auth=login).raise_for_status()
    place = begun.headers["location"]
    client.patch(place, content=content[:MEBIBYTE], auth=login).raise_for_status()
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 80)) as connection:
        secret = base64.b64encode(":".join(login).encode()).decode()
        head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {secret}\r\n"
        head += f"Content-Length: {MEBIBYTE * 2}\r\n\r\n"
        connection.sendall(head.encode() + content[MEBIBYTE : MEBIBYTE * 2])
        server.kill()
    server.start_again()
    assert not (blobs / digest).exists()
    there = int(client.get(place, auth=login).raise_for_status().headers["range"].partition("-")[2]) + 1
    assert MEBIBYTE <= there <= 2 * MEBIBYTE
    client.put(f"{place}?digest=sha256:{digest}", content=content[there:], auth=login).raise_for_status()
    assert hashlib.sha256((blobs / digest).read_bytes()).hexdigest() == digest


def expect_whole(folder: TeamFolder) -> None:
    """What is there under its name is what the name says, and an image that is there has all of its parts."""
    for blob in folder.blobs.glob("*"):
        assert sha256(blob.read_bytes()) == blob.name
    tagged = folder.digest_of("app", "1")
    if tagged is not None:
        found = folder.manifest("app", tagged)
        assert found is not None
        assert found.content == manifest()
        assert all(folder.blob_size(sha256(part)) == len(part) for part in PARTS)


def test_no_step_leaves_half_a_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.cut_off_images", tmp_path]
    steps = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert steps > 10
    for step in range(1, steps):
        folder = TeamFolder(tmp_path / str(step))
        expect_whole(folder)
        push(folder)
        assert folder.digest_of("app", "1") == sha256(manifest())
        later = time.time() + 60
        folder.collect(untagged=later, unneeded=later)
        assert list(folder.uploads.iterdir()) == []
        expect_whole(folder)
