"""Programs of the server's modules in processes of their own, without what the imports cost each time: forks of a
process that has them already (tests/zygote.py). What starting the real program is like, tests/cli shows. Agents are
forks of another one (tests/guest_zygote.py), which has no more than an agent has."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

import moonpool.guest.agent
from tests.zygote import STATUS, Request

ROOT = Path(__file__).parents[1]
SOCKET = "SOCKET"
AGENT = Path(moonpool.guest.agent.__file__).parent


class Program:
    """As ``subprocess.Popen`` has it; its process is the zygote's child."""

    def __init__(self, name: str, pid: int, pidfd: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._name, self._pidfd, self._status = name, pidfd, status

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ended, _, _ = select.select([self._status], [], [], timeout)
            if not ended:
                raise subprocess.TimeoutExpired(self._name, timeout or 0)
            told = os.read(self._status, STATUS.size)
            if not told:
                raise RuntimeError(f"The zygote has died, and {self._name} (process {self.pid}) is on its own")
            (self.returncode,) = STATUS.unpack(told)
            os.close(self._status)
            os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """Started with the first of its programs: ``python WORD...``, where SOCKET stands for its socket's number."""

    def __init__(self, *words: str) -> None:
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._turn = threading.Lock()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, *(str(its.fileno()) if word == SOCKET else word for word in words)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )

    def begin(self, request: Request, output: IO[bytes], errors: IO[bytes]) -> Program:
        status, its = os.pipe()
        try:
            with open(os.devnull, "rb") as nothing, self._turn:
                descriptors = [nothing.fileno(), output.fileno(), errors.fileno(), its]
                socket.send_fds(self._socket, [request.encoded()], descriptors)
                answer, (pidfd,), _, _ = socket.recv_fds(self._socket, 64, 1)
        finally:
            os.close(its)
        return Program(" ".join((request.program, *request.arguments)), int(answer), pidfd, status)

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def zygote() -> Zygote:
    return Zygote("-m", "tests.zygote", SOCKET)


@cache
def guest_zygote() -> Zygote:
    return Zygote("-I", "-S", "tests/guest_zygote.py", SOCKET, str(AGENT))


def end_zygotes() -> None:
    for made in (zygote, guest_zygote):
        if made.cache_info().currsize:
            made().end()
            made.cache_clear()


def begin(
    program: str,
    *arguments: str,
    output: IO[bytes],
    errors: IO[bytes],
    environment: Mapping[str, str] | None = None,
) -> Program:
    """``python -m PROGRAM ARGUMENT...``, or without ``-m`` where PROGRAM is a script's path; with nothing to read."""
    variables = dict(os.environ if environment is None else environment)
    return zygote().begin(Request(program, list(arguments), variables, os.getcwd()), output, errors)


def run(
    program: str, *arguments: str, timeout: float, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """What it printed, and how it ended; killed, and TimeoutExpired, after ``timeout`` seconds."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = begin(program, *arguments, output=output, errors=errors, environment=environment)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        texts = []
        for stream in (output, errors):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return subprocess.CompletedProcess([program, *arguments], code, *texts)
