"""The service that the sudo of images asks, as its docstring describes it. Runs whatever it is asked to, for anyone."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import termios
import threading

HEADER, RESULT = struct.Struct("!I"), struct.Struct("!i")


def serve(connection: socket.socket) -> None:
    header, streams, _, _ = socket.recv_fds(connection, HEADER.size, 3)
    request = json.loads(connection.recv(HEADER.unpack(header)[0], socket.MSG_WAITALL))
    child = os.fork()
    if child == 0:
        start(request, streams)
    for descriptor in streams:
        os.close(descriptor)
    threading.Thread(target=forward, args=(connection, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    connection.sendall(RESULT.pack(os.waitstatus_to_exitcode(status)))
    connection.shutdown(socket.SHUT_RDWR)


def start(request: dict[str, object], streams: list[int]) -> None:
    os.setsid()
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(str(request["directory"]))
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    os.execvpe(arguments[1], arguments[1:], request["environment"])  # type: ignore[arg-type]


def forward(connection: socket.socket, child: int) -> None:
    with contextlib.suppress(OSError):
        while number := connection.recv(1):
            os.killpg(child, number[0])
        os.killpg(child, signal.SIGKILL)


listener = socket.socket(socket.AF_UNIX)
listener.bind("\0" + sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    serve(listener.accept()[0])
