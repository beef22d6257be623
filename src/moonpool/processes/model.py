"""What this feature gives and takes, next to the guest's own ``ProcessSpec``, ``ProcessInfo`` and ``ProcessResult``."""

import math
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from moonpool.access.model import Principal
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import AgentSession

NAME_LENGTH = 128  # characters
TIMEOUT_LIMIT = 7 * 24 * 3600.0  # seconds; longer ones are mistakes more often than wishes
ENVIRONMENT_NAME = re.compile(r"[^\0=]+")

OutputStream = Literal["stdout", "stderr"]


class Sandboxes(Protocol):
    """The way into a sandbox; ``sandboxes.service.SandboxService`` is one."""

    def session(
        self, principal: Principal, sandbox: str, *, active: bool = True
    ) -> AbstractAsyncContextManager[AgentSession]: ...


@dataclass(frozen=True)
class SessionCommand:
    """``exit_code`` is None while the command waits or runs."""

    id: str
    text: str
    exit_code: int | None


@dataclass(frozen=True)
class ShellSession:
    """``commands`` in the order they were given."""

    id: str
    commands: tuple[SessionCommand, ...]


@dataclass(frozen=True)
class LogChunk:
    stream: OutputStream
    data: bytes


@dataclass(frozen=True)
class CommandLogs:
    """The latest bytes of each stream, and in ``chunks`` of both in the order in which they were written, as far as
    that is known; ``truncated`` when more had been written."""

    stdout: bytes = b""
    stderr: bytes = b""
    chunks: tuple[LogChunk, ...] = ()
    truncated: bool = False

    @property
    def output(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)


@dataclass(frozen=True)
class Terminal:
    """``environment`` is what the terminal was given beyond the sandbox's own, as far as this server still knows."""

    id: str
    cwd: str
    environment: Mapping[str, str]
    rows: int
    columns: int
    created_at: datetime
    running: bool
    exit_code: int | None
    lazy: bool


@dataclass(frozen=True)
class Interpreter:
    id: str
    cwd: str
    language: str
    created_at: datetime
    running: bool


def checked_name(name: str, field: str) -> str:
    """A name that a client gives to a session or terminal: it becomes part of a process tag."""
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidInput(f"{field} must be 1 to {NAME_LENGTH} printable characters", field=field)
    return name


def checked_text(text: str, field: str) -> str:
    if "\0" in text:
        raise InvalidInput(f"{field} must not contain NUL characters", field=field)
    return text


def checked_environment(env: Mapping[str, str] | None) -> Mapping[str, str]:
    for name, value in (env or {}).items():
        if not ENVIRONMENT_NAME.fullmatch(name) or "\0" in value:
            raise InvalidInput("Environment variables need a name without '=' and no NUL characters", field="env")
    return env or {}


def checked_timeout(timeout: float | None) -> float | None:
    """Seconds; 0 and None mean no limit."""
    if not timeout:
        return None
    if not 0 < timeout <= TIMEOUT_LIMIT:
        raise InvalidInput(f"timeout must be between 0 and {TIMEOUT_LIMIT:.0f} seconds", field="timeout")
    return timeout


def checked_milliseconds(timeout: int | None) -> float | None:
    """As ``checked_timeout``, in seconds; an integer may be larger than any that can be divided."""
    if timeout is not None and abs(timeout) > TIMEOUT_LIMIT * 1000:
        return checked_timeout(math.inf)
    return checked_timeout(timeout / 1000 if timeout else None)
