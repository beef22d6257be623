"""One command in a sandbox, its output shown as it comes."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection

from moonpool.cli.client import CommandFailed, Target
from moonpool.cli.sockets import open_socket

SHELL = "/bin/sh"
HIGHEST_EXIT_CODE = 255
Show = Callable[[str, str], None]


@dataclass(frozen=True)
class Command:
    """``words``: one is a line for the shell, several are a program and its arguments, taken as they are."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    def message(self) -> dict[str, Any]:
        program, *arguments = self.words if len(self.words) > 1 else (SHELL, "-c", *self.words)
        start: dict[str, Any] = {"type": "start", "cmd": program, "args": arguments, "envs": dict(self.environment)}
        return start | ({"cwd": self.folder} if self.folder else {})


def run_command(target: Target, sandbox_id: str, command: Command, show: Show) -> int:
    """The exit code. ``show`` is called with "stdout" or "stderr" and a text. When this process is interrupted, so is
    the command. Raises CommandFailed when it cannot be started or the connection is lost."""
    return asyncio.run(_run(target, sandbox_id, command, show))


async def _run(target: Target, sandbox_id: str, command: Command, show: Show) -> int:
    async with open_socket(target, f"/v1/capsules/{sandbox_id}/exec/stream") as socket:
        await socket.send(json.dumps(command.message()))
        return await _follow(socket, show)


async def _follow(socket: ClientConnection, show: Show) -> int:
    async for frame in socket:
        message = json.loads(frame)
        match message["type"]:
            case "stdout" | "stderr" as stream:
                show(stream, message["data"])
            case "exit":
                code = int(message["exit_code"])
                return code if 0 <= code <= HIGHEST_EXIT_CODE else HIGHEST_EXIT_CODE
            case "error":
                raise CommandFailed(message["data"])
    raise CommandFailed("The server ended the connection before the command was done.")
