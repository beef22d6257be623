"""What a sandbox can do to the host, to Moonpool and to its neighbours: nothing."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moonpool.engine.instance import Instance
from tests.servers import Server, create, execute, open_client

REACH = """
import socket, sys
socket.setdefaulttimeout(1)
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port))).close()
        print(target, "reached")
    except OSError as error:
        print(target, "denied")
"""


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with open_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def box(client: httpx.Client) -> Iterator[str]:
    sandbox = create(client)
    yield sandbox
    client.delete(f"/api/sandbox/{sandbox}")


@pytest.fixture(scope="module")
def host_port() -> Iterator[int]:
    """A service of the host's that listens on every address, as careless ones do."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        thread = threading.Thread(target=accept_all, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def accept_all(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


def run_python(client: httpx.Client, sandbox: str, code: str, *arguments: str) -> dict[str, object]:
    body = {"code": code, "language": "python", "argv": list(arguments)}
    answer = client.post(f"/toolbox/{sandbox}/process/code-run", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def host_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))
        return [probe.getsockname()[0]]


def test_host_metadata_and_private_ranges_are_out_of_reach(
    server: Server, client: httpx.Client, box: str, host_port: int
) -> None:
    own_port = server.url.rpartition(":")[2]
    targets = [f"{address}:{port}" for address in (*host_addresses(), "169.254.0.22") for port in (host_port, own_port)]
    targets += ["169.254.169.254:80", "100.100.100.200:80", "10.0.0.1:80", "172.16.0.1:80", "192.168.0.1:80"]
    printed = str(run_python(client, box, REACH, *targets)["result"])
    assert printed.count("denied") == len(targets), printed


def test_neighbours_are_out_of_reach(server: Server, client: httpx.Client, box: str) -> None:
    neighbour = create(client)
    execute(client, neighbour, "nohup python3 -m http.server 8000 --bind 0.0.0.0 >/dev/null 2>&1 & sleep 0.2")
    record = json.loads((server.data / "run" / "machines" / f"{neighbour}.json").read_text())
    assert record["slot"]
    targets = [f"{address}:8000" for address in addresses_of_slots(server)]
    assert targets
    targets += [target.replace(":8000", ":49983") for target in targets]
    printed = str(run_python(client, box, REACH, *targets)["result"])
    client.delete(f"/api/sandbox/{neighbour}")
    assert printed.count("denied") == len(targets), printed


def addresses_of_slots(server: Server) -> list[str]:
    """The addresses under which this host reaches this server's sandboxes."""
    links = f"mp{Instance(server.data.resolve()).tag}"
    printed = subprocess.run(["ip", "-json", "route"], capture_output=True, check=True).stdout
    return [route["dst"] for route in json.loads(printed) if route.get("dev", "").startswith(links)]


@pytest.mark.parametrize("kind", ["socket.AF_PACKET, socket.SOCK_RAW", "socket.AF_INET, socket.SOCK_RAW, 255"])
def test_raw_packets_are_denied_even_to_root(client: httpx.Client, box: str, kind: str) -> None:
    code = f"import socket; socket.socket({kind})"
    answer = client.post(f"/toolbox/{box}/process/execute", json={"command": f"sudo python3 -c '{code}'"})
    assert answer.json()["exitCode"] == 1
    assert "not permitted" in answer.json()["result"] or "not supported" in answer.json()["result"]


def test_the_agents_folder_cannot_be_written_even_by_root(client: httpx.Client, box: str) -> None:
    # Inside, root may change the flags of its own view of a mount; the host's side stays read-only.
    client.post(f"/toolbox/{box}/process/execute", json={"command": "sudo mount -o remount,rw /.agent"})
    for command in ("touch /.agent/x", "rm -rf /.agent/agent", "sh -c 'echo x >> /.agent/agent/main.py'"):
        answer = client.post(f"/toolbox/{box}/process/execute", json={"command": f"sudo {command}"})
        assert answer.json()["exitCode"] != 0, command
    assert execute(client, box, "test -e /.agent/agent/__main__.py && echo there") == "there\n"


def test_no_path_of_the_host_is_visible(server: Server, client: httpx.Client, box: str) -> None:
    data = str(server.data.resolve())
    for command in ("cat /proc/self/mountinfo /proc/mounts", "cat /proc/1/cmdline /proc/1/environ | tr '\\0' '\\n'"):
        answer = client.post(f"/toolbox/{box}/process/execute", json={"command": f"sudo sh -c '{command}'"})
        assert data not in answer.json()["result"]
    answer = client.post(f"/toolbox/{box}/process/execute", json={"command": f"sudo ls {data}"})
    assert answer.json()["exitCode"] != 0


def test_the_late_root_shows_nothing_of_other_sandboxes(client: httpx.Client, box: str) -> None:
    """Root inside may try to get out of the agent's chroot; there is the empty root, and this disk."""
    code = """
import os
os.makedirs("/tmp/jail", exist_ok=True)
up = os.open("/", os.O_RDONLY)
os.chroot("/tmp/jail")
os.fchdir(up)
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print(sorted(os.listdir("/")))
print(sorted(os.listdir("/.late")) if os.path.exists("/.late") else [])
"""
    command = f"sudo python3 - <<'CODE'\n{code}\nCODE"
    answer = client.post(f"/toolbox/{box}/process/execute", json={"command": command})
    assert answer.status_code == 200
    seen = answer.json()["result"]
    assert "pool" not in seen
    assert "machines" not in seen


def test_a_foreign_agent_secret_opens_nothing(server: Server, client: httpx.Client, box: str) -> None:
    """Whoever reads the agent's memory as root inside has one sandbox's secret: their own."""
    other = create(client)
    records = server.data / "run" / "machines"
    secrets = {name: json.loads((records / f"{name}.json").read_text())["secret"] for name in (box, other)}
    assert secrets[box] != secrets[other]
    assert Path(records / f"{box}.json").stat().st_mode & 0o077 == 0
    client.delete(f"/api/sandbox/{other}")
