"""Calls to a running sandbox through its control socket: starting runsc for one costs 20 ms, in which a sandbox that is
copied would have to wait.

The protocol is gVisor's urpc: a JSON request, with open files beside it, and a JSON answer.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from moonpool.errors import AgentTimeout, EngineError

ANSWER_BYTES = 64 << 10  # no answer of the calls made here comes near


def call(
    path: Path,
    method: str,
    timeout: float,
    *,
    argument: Mapping[str, object] | None = None,
    files: Sequence[int] = (),
) -> None:
    """One call, such as ``containerManager.Pause``; raises EngineError where it fails. AgentTimeout: gVisor's kernel
    carries it out later, when it comes to it.

    ``files`` are descriptors that the sandbox's kernel is to have copies of.
    """
    request = json.dumps({"method": method, "arg": argument}).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            if files:
                socket.send_fds(connection, [request], files)
            else:
                connection.sendall(request)
            answer = _answer(connection)
    except TimeoutError as error:
        raise AgentTimeout(f"{method} was not answered within {timeout:.0f} s") from error
    except (OSError, ValueError) as error:
        raise EngineError(f"{method} failed: {error}") from error
    if not answer.get("success"):
        raise EngineError(f"{method} failed: {answer.get('err')}")


def _answer(connection: socket.socket) -> dict[str, object]:
    """Whole once it can be parsed: nothing else marks its end."""
    received = b""
    while len(received) < ANSWER_BYTES:
        part = connection.recv(ANSWER_BYTES)
        received += part
        try:
            return dict(json.loads(received))
        except ValueError:
            if not part:
                raise
    raise ValueError("the answer is too long")
