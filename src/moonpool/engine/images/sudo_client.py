#!/usr/bin/python3 -IS
"""Installed in images as /usr/bin/sudo, for sandboxes whose kernel ignores the set-user-id bit (as gVisor's does).

A service of the sandbox, running as root, starts the real sudo as root on behalf of callers that belong to the group
sudo; options and rules are the real sudo's. (SUDO_USER is root then.) Where there is no such service, or the caller is
root, the real sudo is executed directly.

The service listens on the abstract socket SERVICE, with SO_PASSCRED. A caller sends HEADER (the length of the
request) together with its standard input, output and error, then the request in JSON: ``program``, ``arguments``,
``directory``, ``environment`` and ``terminal`` (whether standard input is to become the controlling terminal). The
program gets a session of its own. After that each byte the caller sends is a signal for the program's process group,
and hanging up kills the group. The service answers once, with RESULT: the exit code, or the negative number of the
signal that ended the program; a caller that it refuses gets no answer, and its connection is closed.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import tty

SERVICE = "\0sandbox-sudo"
PROGRAM = "/usr/bin/sudo.real"
HEADER, RESULT = struct.Struct("!I"), struct.Struct("!i")
CHUNK = 65536  # bytes
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def main() -> int:
    arguments = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.geteuid() == 0:
            raise ConnectionRefusedError
        service.connect(SERVICE)
    except OSError:
        os.execv(PROGRAM, arguments)  # noqa: S606 (a shell would only be in the way)
    if not sys.stdin or not os.isatty(0):
        return run(service, arguments, [0, 1, 2], None)
    master, slave = os.openpty()
    streams = [slave if os.isatty(descriptor) else descriptor for descriptor in (0, 1, 2)]
    saved = termios.tcgetattr(0)
    termios.tcsetattr(slave, termios.TCSANOW, saved)
    resize(master)
    signal.signal(signal.SIGWINCH, lambda *_: resize(master))
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is for the program
        return run(service, arguments, streams, (master, slave))
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)


def run(service: socket.socket, arguments: list[str], streams: list[int], pair: tuple[int, int] | None) -> int:
    """The program's exit code; a signal's number plus 128 when one ended it."""
    try:
        ask(service, arguments, streams, terminal=pair is not None)
        if pair is not None:
            os.close(pair[1])
            relay(pair[0], service)
        answer = service.recv(RESULT.size, socket.MSG_WAITALL)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    if len(answer) < RESULT.size:
        print("sudo: this user is not in the group sudo, or the sandbox is being stopped", file=sys.stderr)
        return 1
    (code,) = RESULT.unpack(answer)
    return int(code) if code >= 0 else 128 - int(code)


def ask(service: socket.socket, arguments: list[str], streams: list[int], *, terminal: bool) -> None:
    request = {
        "program": PROGRAM,
        "arguments": arguments,
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "terminal": terminal,
    }
    text = json.dumps(request).encode()
    # What comes before the request is through would be taken for a part of it, and what comes right after it is the
    # program's already.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        socket.send_fds(service, [HEADER.pack(len(text))], streams)
        service.sendall(text)
        for number in FORWARDED:
            signal.signal(number, lambda received, _: pass_on(service, received))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def pass_on(service: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # the program has ended already
        service.send(bytes([number]))


def relay(master: int, service: socket.socket) -> None:
    """Between the caller's terminal and the program's, until the program has ended and all it wrote is through."""
    sources = [0, master, service.fileno()]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if master in ready:
            if not copy(master, 1):
                return
        elif service.fileno() in ready:
            return
        if 0 in ready and not copy(0, master):
            sources.remove(0)


def copy(source: int, target: int) -> bool:
    """Whether there was anything; a terminal without its other end answers EIO."""
    try:
        content = os.read(source, CHUNK)
    except OSError:
        return False
    rest = content
    while rest:
        rest = rest[os.write(target, rest) :]
    return bool(content)


def resize(master: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))


if __name__ == "__main__":
    sys.exit(main())
