"""``systemctl`` and ``journalctl`` inside a sandbox: hands its arguments to the service manager, and its answer on;
``systemd-notify``, which speaks to its service's own socket.

Started by the small scripts that ``commands_inside`` writes, with the agent's own interpreter: the first argument is
the program, and everything is imported that is needed and no more.
"""

import contextlib
import os
import socket
import sys

NOT_SET = b"$NOTIFY_SOCKET was not set"
FLAGS = {"--ready": "READY=1", "--reloading": "RELOADING=1", "--stopping": "STOPPING=1"}
SERVICE = "sandbox-units"
HEADER = 5  # bytes: what follows (0: the exit code, 1: output, 2: errors), then how much of it
NOT_THERE = (
    b"System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    b"Failed to connect to bus: Host is down\n"
)


def notify(words: list[str]) -> int:
    """``systemd-notify``: what a service that is a script says of itself."""
    lines, remaining = [], list(words)
    while remaining:
        word = remaining.pop(0)
        name, sign, value = word.partition("=")
        if word in FLAGS:
            lines.append(FLAGS[word])
        elif name == "--status":
            lines.append("STATUS=" + (value if sign else remaining.pop(0) if remaining else ""))
        elif name == "--pid":
            lines.append(f"MAINPID={value if value.isdigit() else os.getppid()}")
        elif word == "--booted":
            return 0
        elif sign and not word.startswith("-"):
            lines.append(word)
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place or not lines:
        os.write(2, b"No status data could be sent: " + (b"nothing to say" if place else NOT_SET) + b"\n")
        return 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.connect("\0" + place[1:] if place.startswith("@") else place)
        service.send("\n".join(lines).encode())
    return 0


def main() -> int:
    if sys.argv[1:2] == ["systemd-notify"]:
        return notify(sys.argv[2:])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect("\0" + os.environ.get("SANDBOX_UNITS", SERVICE))
    except OSError:
        os.write(2, NOT_THERE)
        return 1
    words = b"\0".join(os.fsencode(word) for word in sys.argv[1:])
    connection.sendall(len(words).to_bytes(4, "big") + words)
    with connection.makefile("rb") as answer:
        while len(header := answer.read(HEADER)) == HEADER:
            kind, content = header[0], answer.read(int.from_bytes(header[1:], "big"))
            if kind == 0:
                return int(content)
            while content:
                content = content[os.write(kind, content) :]
    return 1


if __name__ == "__main__":
    code = 130
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        code = main()
    os._exit(code)
