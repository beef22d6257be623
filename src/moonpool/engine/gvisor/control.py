"""Calls to a running sandbox through its control socket: starting runsc for one costs 20 ms, in which a sandbox that is
copied would have to wait.

The protocol is gVisor's urpc: a JSON request, a JSON answer.
"""

import json
import socket
from pathlib import Path

from moonpool.errors import AgentTimeout, EngineError

ANSWER_BYTES = 64 << 10  # no answer of the calls made here comes near


def call(path: Path, method: str, timeout: float) -> None:
    """One call without arguments, such as ``containerManager.Pause``; raises EngineError where it fails. AgentTimeout:
    gVisor's kernel carries it out later, when it comes to it."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps({"method": method, "arg": None}).encode())
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
