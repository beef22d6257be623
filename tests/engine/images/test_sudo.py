"""The sudo of images, against a service as a sandbox has one."""

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from moonpool.engine.images import sudo_client

NOBODY = 65534


@pytest.fixture
def client() -> Iterator[list[str]]:
    """The command that starts the client as an ordinary user, with a service of its own running."""
    name = f"sudo-test-{os.getpid()}"
    service = [sys.executable, str(Path(__file__).parent / "sudo_service.py"), name]
    with subprocess.Popen(service, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield client_of(name)
        running.kill()


def client_of(service: str) -> list[str]:
    text = resources.files("moonpool.engine.images").joinpath("sudo_client.py").read_text()
    return ["/usr/bin/python3", "-IS", "-c", text.replace(sudo_client.SERVICE.strip("\0"), service)]


def call(client: list[str], *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*client, *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        cwd="/",
    )


def test_the_program_runs_as_root_with_the_callers_streams(client: list[str]) -> None:
    done = call(client, "sh", "-c", "id -u; pwd; cat; echo trouble >&2; exit 7", text="through\n")
    assert (done.stdout, done.stderr, done.returncode) == ("0\n/\nthrough\n", "trouble\n", 7)


def test_a_program_ended_by_a_signal_gives_what_a_shell_gives(client: list[str]) -> None:
    assert call(client, "sh", "-c", "kill -KILL $$").returncode == 137


def test_much_output_and_long_arguments_pass(client: list[str]) -> None:
    long = "x" * 100_000
    assert call(client, "printf", "%s", long).stdout == long
    assert len(call(client, "head", "-c", "3000000", "/dev/zero").stdout) == 3_000_000


def test_signals_reach_the_program(client: list[str]) -> None:
    script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do read line; done"
    with subprocess.Popen(
        [*client, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=NOBODY
    ) as caller:
        assert caller.stdin is not None
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
        caller.send_signal(signal.SIGTERM)
        caller.stdin.write("\n")
        caller.stdin.flush()
        assert caller.stdout.readline() == "caught\n"
        assert caller.wait() == 3


def test_a_signal_right_after_the_request_reaches_the_program() -> None:
    """The program may have said that it is ready by then."""
    name = f"sudo-test-signal-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        for _ in range(10):
            with subprocess.Popen([*client_of(name), "true"], stdin=subprocess.DEVNULL, user=NOBODY) as caller:
                connection, _address = listener.accept()
                header, streams, _, _ = socket.recv_fds(connection, sudo_client.HEADER.size, 3)
                for stream in streams:
                    os.close(stream)
                connection.recv(sudo_client.HEADER.unpack(header)[0], socket.MSG_WAITALL)
                caller.send_signal(signal.SIGTERM)
                assert connection.recv(1) == bytes([signal.SIGTERM])
                connection.sendall(sudo_client.RESULT.pack(3))
                assert caller.wait() == 3
                connection.close()


def test_a_killed_caller_takes_the_program_along(client: list[str]) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*client, "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=writing, user=NOBODY
    ) as caller:
        os.close(writing)
        assert os.read(reading, 100) == b"ready\n"
        caller.kill()
        assert os.read(reading, 100) == b"", "the program's end of the pipe is closed"
    os.close(reading)


def test_a_terminal_is_passed_on_with_its_size(client: list[str]) -> None:
    child, terminal = pty.fork()
    if child == 0:
        subprocess.run(["stty", "rows", "33", "cols", "99"], check=True)
        os.setuid(NOBODY)
        os.execv(client[0], [*client, "sh", "-c", "stty size; test -t 0 && tty; read line; echo got $line; exit 4"])
    os.write(terminal, b"words\n")
    output = b""
    while True:
        try:
            output += os.read(terminal, 1000)
        except OSError:
            break
    assert b"33 99" in output
    assert b"/dev/pts/" in output
    assert b"got words" in output
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    os.close(terminal)
