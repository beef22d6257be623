"""Previews of real sandboxes: what the SDKs hand out, loopback and all addresses, sleep and wake, a browser."""

import shlex
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from tests.sdk.node import node_project, run_script
from tests.servers import Server, create, execute, open_client

VITE = "5.4.11"
PLAYWRIGHT = "1.49.1"
HERE = Path(__file__).parent
PAGE = """<!doctype html><div id="app"></div><script type="module" src="/main.js"></script>"""
MAIN = """
import { text } from "./text.js";
document.querySelector("#app").textContent = text;
globalThis.connected = true;
if (import.meta.hot) {
  import.meta.hot.accept("./text.js", (changed) => { document.querySelector("#app").textContent = changed.text; });
}
"""
# An HTTP server that says how it was asked, on one address.
ECHO = """
import sys, socketserver, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (self.path + "\\n" + str(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


class Resolving(httpx.HTTPTransport):
    """Finds names below localhost as browsers and curl do; not every machine's resolver does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(".localhost"):
            request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with open_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox(client: httpx.Client) -> Iterator[str]:
    """It serves on 3000 at all addresses, and on 3001 on loopback alone."""
    made = create(client)
    upload(client, made, "/tmp/echo.py", ECHO.encode())
    for address, port in (("0.0.0.0", 3000), ("127.0.0.1", 3001)):
        start(client, made, f"python3 /tmp/echo.py {address} {port}", port)
    yield made
    client.delete(f"/api/sandbox/{made}")


def upload(client: httpx.Client, sandbox: str, path: str, content: bytes) -> None:
    answer = client.post(f"/toolbox/{sandbox}/files/upload", params={"path": path}, files={"file": content})
    assert answer.status_code == 200, answer.text


def start(client: httpx.Client, sandbox: str, command: str, port: int) -> None:
    """Once it listens."""
    waiting = f"for i in $(seq 300); do ss -ltn | grep -q ':{port} ' && exit 0; sleep 0.1; done; cat /tmp/log; exit 1"
    execute(client, sandbox, f"sh -c {shlex.quote(f'nohup {command} >/tmp/log 2>&1 & {waiting}')}")


def link_of(client: httpx.Client, sandbox: str, port: int) -> str:
    answer = client.get(f"/api/sandbox/{sandbox}/ports/{port}/signed-preview-url", params={"expiresInSeconds": 600})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


@pytest.fixture
def anybody() -> Iterator[httpx.Client]:
    """Without a key."""
    with httpx.Client(transport=Resolving(), timeout=60) as asker:
        yield asker


@pytest.mark.parametrize("port", [3000, 3001])
def test_what_listens_on_all_addresses_and_on_loopback(
    server: Server, client: httpx.Client, anybody: httpx.Client, sandbox: str, port: int
) -> None:
    given = client.get(f"/api/sandbox/{sandbox}/ports/{port}/preview-url").json()
    assert given["url"] == f"http://{port}-{sandbox}.localhost:{server.url.rpartition(':')[2]}"
    assert anybody.get(given["url"]).status_code == 401
    for _ in range(3):
        answer = anybody.get(f"{given['url']}/a%2Fb?c=d", headers={"x-daytona-preview-token": given["token"]})
        assert (answer.status_code, answer.text.splitlines()[0]) == (200, "/a%2Fb?c=d")
        assert given["token"] not in answer.text


def test_daytona_s_sdk(server: Server, anybody: httpx.Client, sandbox: str) -> None:
    from daytona import Daytona, DaytonaConfig

    daytona = Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))
    try:
        found = daytona.get(sandbox)
        link = found.get_preview_link(3000)
        assert anybody.get(link.url, headers={"x-daytona-preview-token": link.token}).status_code == 200
        signed = found.create_signed_preview_url(3000, 60)
        assert anybody.get(signed.url).status_code == 200
        found.expire_signed_preview_url(3000, signed.token)
        assert anybody.get(signed.url).status_code == 403
        url = found.download_url("/tmp/echo.py")
        assert anybody.get(url).text == ECHO
        found.rotate_signing_key()
        assert anybody.get(url).status_code == 401
        put = anybody.post(found.upload_url("/tmp/up"), files={"file": b"content"})
        assert put.status_code == 200, put.text
        assert found.fs.download_file("/tmp/up") == b"content"
    finally:
        daytona._event_dispatcher.disconnect()


def test_codesandbox_s_tokens(server: Server, client: httpx.Client, anybody: httpx.Client, sandbox: str) -> None:
    token = client.post(f"/sandbox/{sandbox}/tokens", json={}).json()["data"]["token"]["token"]
    host = f"http://{sandbox}-3001.localhost:{server.url.rpartition(':')[2]}"
    assert anybody.get(host).status_code == 401
    assert anybody.get(host, headers={"csb-preview-token": token}).status_code == 200
    answer = anybody.get(host, params={"preview_token": token})
    assert answer.status_code == 200
    assert "moonpool_preview" in answer.headers["set-cookie"]
    client.delete(f"/sandbox/{sandbox}/tokens")
    assert anybody.get(host, headers={"csb-preview-token": token}).status_code == 401


def test_a_freestyle_vm_s_domains(server: Server, client: httpx.Client, anybody: httpx.Client) -> None:
    """Its own, and one that it was created with, lead to what its port 443 leads to."""
    body = {"ports": [{"port": 443, "targetPort": 3005}], "domains": [{"domain": "vm.example.com", "vmPort": 443}]}
    made = client.post("/v1/vms", json=body).json()
    assert made["domains"] == ["vm.example.com", f"{made['id']}.localhost"]
    serve = "nohup python3 -u -m http.server 3005 > /tmp/log 2>&1 & until grep -q Serving /tmp/log; do sleep 0.1; done"
    assert client.post(f"/v1/vms/{made['id']}/exec-await", json={"command": serve}).status_code == 200
    port = server.url.rpartition(":")[2]
    assert anybody.get(f"http://{made['id']}.localhost:{port}").status_code == 200
    assert anybody.get(server.url, headers={"Host": "vm.example.com"}).status_code == 200
    assert client.delete(f"/v1/vms/{made['id']}").status_code == 200
    assert anybody.get(f"http://{made['id']}.localhost:{port}").status_code == 404


def test_a_request_wakes_a_paused_sandbox(client: httpx.Client, anybody: httpx.Client, sandbox: str) -> None:
    for port in (3000, 3001):
        link = link_of(client, sandbox, port)
        assert anybody.get(link).status_code == 200
        assert client.post(f"/api/sandbox/{sandbox}/pause").status_code == 200
        assert anybody.get(link).status_code == 200
        assert client.get(f"/api/sandbox/{sandbox}").json()["state"] == "started"


def test_a_fork_ends_no_request(client: httpx.Client, anybody: httpx.Client, sandbox: str) -> None:
    """Connections that were kept open are cut by it; the next request has another."""
    links = [link_of(client, sandbox, port) for port in (3000, 3001)]
    assert [anybody.get(link).status_code for link in links] == [200, 200]
    copy = client.post(f"/api/sandbox/{sandbox}/fork", json={}).json()["id"]
    assert [anybody.get(link).status_code for link in links] == [200, 200]
    client.delete(f"/api/sandbox/{copy}")


def test_a_large_download_comes_whole(
    server: Server, client: httpx.Client, anybody: httpx.Client, sandbox: str
) -> None:
    execute(client, sandbox, "mkdir -p /tmp/files && head -c 100000000 /dev/zero > /tmp/files/zeros")
    start(client, sandbox, "python3 -m http.server 3002 --directory /tmp/files", 3002)
    with anybody.stream("GET", link_of(client, sandbox, 3002) + "/zeros") as answer:
        assert sum(len(piece) for piece in answer.iter_raw()) == 100_000_000


def test_an_app_cannot_be_reached_by_anybody_s_host_header(server: Server, sandbox: str) -> None:
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=20) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: 3000-{sandbox}.localhost\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_a_vite_server_reloads_hot_in_chromium(server: Server, client: httpx.Client) -> None:
    """The page, its modules and its WebSocket come through the preview, from a server that listens on loopback."""
    site = node_project("vite", vite=VITE)
    made = create(client)
    try:
        packed = BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
            archive.add(site / "node_modules", "site/node_modules")
            for name, text in (("index.html", PAGE), ("main.js", MAIN), ("text.js", 'export const text = "before";\n')):
                entry = tarfile.TarInfo(f"site/{name}")
                entry.size = len(text.encode())
                archive.addfile(entry, BytesIO(text.encode()))
        upload(client, made, "/tmp/site.tar.gz", packed.getvalue())
        execute(client, made, "tar -xzf /tmp/site.tar.gz -C /tmp --no-same-owner")
        start(client, made, "sh -c 'cd /tmp/site && node_modules/.bin/vite --port 5173 --strictPort'", 5173)
        browser = node_project("playwright", **{"playwright-core": PLAYWRIGHT})
        settings = {"PREVIEW_URL": link_of(client, made, 5173), "SANDBOX": made}
        done = run_script(browser, HERE / "hot_reload.mjs", server, **settings)
        assert done.stdout == "changed after 1 load\n"
    finally:
        client.delete(f"/api/sandbox/{made}")


def test_ssh_into_a_sandbox(client: httpx.Client, sandbox: str, tmp_path: Path) -> None:
    command = client.post(f"/api/sandbox/{sandbox}/ssh-access").json()["sshCommand"].split()
    port, target = command[command.index("-p") + 1], command[-1]
    known = f"UserKnownHostsFile={tmp_path / 'hosts'}"
    options = [
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "LogLevel=ERROR",
        "-o",
        known,
    ]

    def run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(words, input=given, capture_output=True, timeout=60, check=False)

    shell = run("ssh", *options, *command[1:], "-tt", given=b"tty; exit 4\n")
    assert (shell.returncode, b"/dev/pts/" in shell.stdout) == (4, True), shell
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    copied = run("scp", *options, "-P", port, str(tmp_path / "file"), f"{target}:copied")
    assert copied.returncode == 0, copied
    assert run("ssh", *options, *command[1:], "cat copied").stdout == content
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    forwarded = run("ssh", *options, *command[1:], "-W", "localhost:3001", given=request)
    assert forwarded.stdout.startswith(b"HTTP/1.1 200"), forwarded
