"""One shell as clients know it, and how it is written down where it outlives this server: in its process's tag."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from moonpool.dialects.codesandbox.pitcher import archives
from moonpool.guest.model import ProcessInfo, ProcessSpec, TerminalSize

PREFIX = "pitcher:"
COMMAND_LIMIT = 64 * 1024  # characters of a command that are remembered beyond this server's life
REPLAY = 1 << 20  # bytes of output that the agent keeps
SHARE = "umask 002"  # What sessions make, the workspace's group may change: so they can work on the same files.
# Without a language, programs take the names in the SDK's archives for garbage, as unzip does.
ENVIRONMENT = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
SHORT = 80  # characters of a command that name its shell
# How the SDK wraps what it is to run; its terminals are not wrapped in a second bash.
WRAPPING = "source $HOME/.private/.env 2>/dev/null || true && "

Kind = Literal["TERMINAL", "COMMAND"]


class Status(StrEnum):
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    ERROR = "ERROR"
    KILLED = "KILLED"
    RESTARTING = "RESTARTING"


@dataclass(frozen=True)
class Identity:
    """What a shell is, apart from how it is doing. ``command`` None: a login shell. ``task`` and ``step`` say what
    the shell was started for: a task's id, or the number of a step of the setup. ``forgotten``: ``command`` is only
    the beginning of it, since the server that knew the whole has ended. ``life`` is that of the sandbox in which it
    was started.
    """

    id: str
    kind: Kind
    name: str
    owner: str
    home: str
    cwd: str
    command: str | None = None
    system: bool = False
    task: str | None = None
    step: int | None = None
    forgotten: bool = False
    life: tuple[str, str] | None = None

    @property
    def tag(self) -> str:
        fields = vars(self)
        if self.command is not None and len(self.command) > COMMAND_LIMIT:
            fields = {**fields, "command": self.command[:SHORT], "forgotten": True}
        return PREFIX + json.dumps({name: value for name, value in fields.items() if value is not None})

    @property
    def unpacks(self) -> bool:
        """Whether it takes an uploaded archive apart."""
        return self.command is not None and archives.UNPACKING.fullmatch(self.command) is not None

    def spec(self, size: TerminalSize) -> ProcessSpec:
        return ProcessSpec(
            argv=None if self.command else ("bash", "-c", f"{SHARE}; exec bash -l"),
            shell=f"{SHARE}\n{self.command}" if self.command else None,
            cwd=self.cwd,
            env={"HOME": self.home, **ENVIRONMENT, **(archives.LEADING_OUT if self.unpacks else {})},
            user=self.owner,
            tag=self.tag,
            terminal=size,
            replay_bytes=REPLAY,
        )


def identity_of(info: ProcessInfo) -> Identity | None:
    """None for a process that is no shell of this protocol's."""
    if info.tag is None or not info.tag.startswith(PREFIX):
        return None
    fields = json.loads(info.tag.removeprefix(PREFIX))
    return Identity(**{**fields, "life": tuple(fields["life"]) if "life" in fields else None})


def default_name(command: str | None) -> str:
    return (command or "bash")[:SHORT]


def is_command(identity: Identity) -> bool:
    """Whether its output is a program's, to be read as text, and no screen. The SDK also says so in the name."""
    _, _, wrapped = (identity.command or "").partition(WRAPPING)
    if wrapped.startswith("bash -c '") or (wrapped.startswith("env ") and "bash -c '" in wrapped):
        return True
    try:
        said = json.loads(identity.name)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("type") == "command"


@dataclass(eq=False)
class Shell:
    """``pid`` and what follows it change when the shell is restarted."""

    identity: Identity
    pid: int
    size: TerminalSize
    status: Status = Status.RUNNING
    exit_code: int | None = None

    @property
    def id(self) -> str:
        return self.identity.id

    @property
    def alive(self) -> bool:
        return self.status in (Status.RUNNING, Status.RESTARTING)

    def document(self) -> dict[str, Any]:
        """As in the protocol."""
        identity = self.identity
        shown: dict[str, Any] = {"shellId": identity.id, "name": identity.name, "status": self.status.value}
        if self.exit_code is not None:
            shown["exitCode"] = self.exit_code
        if identity.kind == "COMMAND":
            return {**shown, "shellType": "COMMAND", "startCommand": identity.command or ""}
        return {
            **shown,
            "shellType": "TERMINAL",
            "ownerUsername": identity.owner,
            "isSystemShell": identity.system,
        }


def ended_as(exit_code: int) -> Status:
    return Status.FINISHED if exit_code == 0 else Status.ERROR
