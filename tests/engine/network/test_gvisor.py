"""The same with a real sandbox: gVisor's own network stack on the slot's link."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys

import pytest

from moonpool.engine.network import NetworkPolicy
from moonpool.engine.network.addresses import AGENT_PORT

# Answers one request a connection: "tcp ADDRESS PORT" or "udp ADDRESS PORT".
PROGRAM = f"""
import socket
server = socket.create_server(("", {AGENT_PORT}))
while True:
    asked, _ = server.accept()
    with asked:
        kind, address, port = asked.recv(200).decode().split()
        try:
            with socket.socket(type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as out:
                out.settimeout(5)
                out.connect((address, int(port)))
                out.sendall(b"question")
                text = out.recv(100).decode()
        except OSError as error:
            text = type(error).__name__
        asked.sendall(text.encode())
"""


class Sandbox:
    """A `runsc run` in a slot's namespace, with the host's files for a root."""

    def __init__(self, machine, slot):
        self.slot = slot
        self.folder = machine.folder / f"runsc-{slot.number}"
        self.state = machine.folder / "runsc-state"
        bundle = self.folder / "bundle"
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(self.specification()))
        self.process = None

    def specification(self):
        capabilities = ["CAP_NET_BIND_SERVICE", "CAP_NET_RAW"]
        return {
            "ociVersion": "1.0.0",
            "root": {"path": "/", "readonly": True},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "cwd": "/",
                "args": [os.path.realpath(sys.executable), "-I", "-S", "-c", PROGRAM],
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [
                    *({"type": kind} for kind in ("pid", "ipc", "uts", "mount")),
                    {"type": "network", "path": str(self.slot.namespace)},
                ]
            },
        }

    def command(self, *arguments):
        # runsc takes the namespace for the machine's own where it sees /proc/sys/net/core: hide that.
        hide = 'mount -t tmpfs -o ro none /proc/sys/net/core; exec "$0" "$@"'
        flags = ["--network=sandbox", "--platform=systrap", "--ignore-cgroups", f"--root={self.state}"]
        place = ["nsenter", f"--net={self.slot.namespace}", "unshare", "--mount", "sh", "-c", hide]
        return [*place, shutil.which("runsc"), *flags, *arguments]

    def __enter__(self):
        arguments = self.command("run", f"--bundle={self.folder / 'bundle'}", self.name)
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *failure):
        subprocess.run(self.command("kill", self.name, "KILL"), check=True, capture_output=True)
        self.process.wait(20)
        subprocess.run(self.command("delete", "--force", self.name), check=False, capture_output=True)

    @property
    def name(self):
        return f"network-test-{self.slot.number}"

    def ask(self, kind, address, port):
        with self.connect() as client:
            client.settimeout(20)
            client.sendall(f"{kind} {address} {port}".encode())
            return client.recv(100).decode()

    def connect(self):
        """The sandbox refuses connections until its program listens; there is no event for that outside."""
        while self.process.poll() is None:
            try:
                return socket.create_connection((self.slot.address, AGENT_PORT), 20)
            except ConnectionError:
                select.select([], [], [], 0.02)
        raise AssertionError("the sandbox ended")


def serve(server, text):
    accepted, peer = server.accept()
    with accepted:
        accepted.recv(100)
        accepted.sendall(text)
    return peer[0]


@pytest.fixture
def network(machine):
    return machine.network()


@pytest.fixture
def sandbox(machine, network):
    with Sandbox(machine, network.create(0)) as started:
        yield started


def test_a_real_sandbox(machine, network, sandbox):
    public = machine.datagrams(machine.PUBLIC, 5000, machine.internet)
    names = machine.datagrams(machine.RESOLVER, 53, machine.internet)

    for server, address, port in ((public, machine.PUBLIC, 5000), (names, machine.GATEWAY, 53)):
        with sandbox.connect() as client:
            client.sendall(f"udp {address} {port}".encode())
            question, peer = server.recvfrom(100)
            assert (question, peer[0]) == (b"question", machine.HOST)
            server.sendto(b"answer", peer)
            assert client.recv(100) == b"answer"

    stream = machine.listen(machine.PUBLIC, 443, machine.internet)
    with sandbox.connect() as client:
        client.sendall(f"tcp {machine.PUBLIC} 443".encode())
        assert serve(stream, b"hello") == machine.HOST
        assert client.recv(100) == b"hello"

    neighbour = network.create(1)
    heard = [
        machine.listen("", 8080),
        machine.listen("", 8080, neighbour.namespace),
        machine.listen("169.254.169.254", 8080, machine.internet),
        machine.listen("10.1.2.3", 8080, machine.internet),
    ]
    for address in (machine.HOST, machine.GATEWAY, neighbour.address, "169.254.169.254", "10.1.2.3"):
        for kind in ("tcp", "udp"):
            assert sandbox.ask(kind, address, 8080) == "ConnectionRefusedError"
    assert not select.select(heard, [], [], 0)[0]

    network.set_policy(0, NetworkPolicy(block_all=True))
    assert sandbox.ask("tcp", machine.PUBLIC, 443) == "ConnectionRefusedError"
    assert sandbox.ask("udp", machine.GATEWAY, 53) == "ConnectionRefusedError"
