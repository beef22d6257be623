"""``systemctl`` and ``journalctl`` inside a sandbox: hands its arguments to the service manager, and its answer on.

Started by the small scripts that ``commands_inside`` writes, with the agent's own interpreter: the first argument is
the program, and everything is imported that is needed and no more.
"""

import contextlib
import os
import socket
import sys

SERVICE = "sandbox-units"
HEADER = 5  # bytes: what follows (0: the exit code, 1: output, 2: errors), then how much of it
NOT_THERE = (
    b"System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    b"Failed to connect to bus: Host is down\n"
)


def main() -> int:
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
