"""``.codesandbox/tasks.json`` of a workspace: what sets it up, and what can be run in it."""

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moonpool.errors import AccessDenied, FileNotFound, IsADirectory, NotADirectory
from moonpool.guest.client import AgentClient

PATH = ".codesandbox/tasks.json"
LARGEST = 1 << 20  # bytes
MAX_TASKS = 256
MAX_FILES = 32  # on which a task is started again
HIGHEST_PORT = 65535
# The file may hold comments and commas at the end of a list, as its editors have it; texts are left alone.
# What has no end is taken to the end of the file: to look for it again from each place further on would take for ever.
TEXT = r'"(?:\\.?|[^"\\])*+(?:"|\Z)'
COMMENTS = re.compile(rf"({TEXT}|/\*(?:(?!\*/).)*+\Z)|//[^\n]*|/\*.*?\*/", re.DOTALL)
TRAILING = re.compile(rf"({TEXT})|,(?=\s*[}}\]])", re.DOTALL)


@dataclass(frozen=True)
class RestartOn:
    """When a task that runs is started again: when one of ``files`` (paths in the workspace) or the branch of its git
    changes, in a copy of its sandbox (``clone``), after a hibernation (``resume``)."""

    files: tuple[str, ...] = ()
    branch: bool = False
    clone: bool = False
    resume: bool = False

    def document(self) -> dict[str, Any]:
        return {"files": list(self.files), "branch": self.branch, "clone": self.clone, "resume": self.resume}


@dataclass(frozen=True)
class Task:
    """``port`` is the one that its preview shows."""

    id: str
    name: str
    command: str
    run_at_start: bool = False
    port: int | None = None
    restart_on: RestartOn | None = None


@dataclass(frozen=True)
class SetupTask:
    name: str
    command: str


@dataclass(frozen=True)
class TaskFile:
    """``errors`` are sentences on what was left out."""

    setup: tuple[SetupTask, ...] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @property
    def setup_hash(self) -> str:
        """Changes with any step of the setup."""
        steps = json.dumps([[step.name, step.command] for step in self.setup])
        return hashlib.sha256(steps.encode(errors="replace")).hexdigest()[:16]


async def read(agent: AgentClient, workspace: str, user: str) -> TaskFile:
    """An empty one where there is no file."""
    try:
        async with agent.read(posixpath.join(workspace, PATH), 0, LARGEST + 1, user=user) as reader:
            content = b"".join([piece async for piece in reader])
    except (FileNotFound, NotADirectory, IsADirectory, AccessDenied):
        return TaskFile()
    if len(content) > LARGEST:
        return TaskFile(errors=(f"{PATH} is larger than {LARGEST} bytes",))
    return parse(content.decode(errors="replace"))


def parse(text: str) -> TaskFile:
    plain = TRAILING.sub(lambda found: found[1] or "", COMMENTS.sub(lambda found: found[1] or " ", text))
    try:
        document = json.loads(plain)
    except (ValueError, RecursionError) as error:
        return TaskFile(errors=(f"{PATH} is not valid JSON: {error}",))
    if not isinstance(document, dict):
        return TaskFile(errors=(f"{PATH} must hold an object",))
    errors: list[str] = []
    return TaskFile(setup_tasks(document, errors), tasks(document, errors), tuple(errors))


def setup_tasks(document: Mapping[str, Any], errors: list[str]) -> tuple[SetupTask, ...]:
    found = []
    for number, entry in enumerate(entries(document, "setupTasks", list, errors)):
        entry = {"command": entry} if isinstance(entry, str) else entry
        command = command_of(entry)
        if command is None:
            errors.append(f"setupTasks[{number}] has no command")
        else:
            found.append(SetupTask(name_of(entry, command), command))
    return tuple(found)


def tasks(document: Mapping[str, Any], errors: list[str]) -> dict[str, Task]:
    found = {}
    for task_id, entry in entries(document, "tasks", dict, errors).items():
        command = command_of(entry)
        if command is None:
            errors.append(f"tasks.{task_id} has no command")
            continue
        preview = entry.get("preview")
        port = preview.get("port") if isinstance(preview, dict) else None
        known = type(port) is int and 0 < port <= HIGHEST_PORT
        found[task_id] = Task(
            task_id,
            name_of(entry, task_id),
            command,
            entry.get("runAtStart") is True,
            port if known else None,
            restart_on(task_id, entry.get("restartOn"), errors),
        )
    return found


def restart_on(task_id: str, value: object, errors: list[str]) -> RestartOn | None:
    if not isinstance(value, dict):
        return None
    named = value.get("files") or []
    named = [named] if isinstance(named, str) else named
    paths = [inside(path) for path in named] if isinstance(named, list) and len(named) <= MAX_FILES else [None]
    files = tuple(dict.fromkeys(path for path in paths if path))
    if None in paths:
        errors.append(f"tasks.{task_id}.restartOn.files must be at most {MAX_FILES} paths in the workspace")
    return RestartOn(files, *(value.get(name) is True for name in ("branch", "clone", "resume")))


def inside(path: object) -> str | None:
    """As it is below the workspace; None for one that is not."""
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    plain = posixpath.normpath(path)
    return None if posixpath.isabs(plain) or plain.split("/")[0] in ("..", ".") else plain


def entries(document: Mapping[str, Any], name: str, kind: type[Any], errors: list[str]) -> Any:
    value = document.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind) or len(value) > MAX_TASKS:
        errors.append(f"{name} must be {'a list' if kind is list else 'an object'} of at most {MAX_TASKS}")
        return kind()
    return value


def command_of(entry: object) -> str | None:
    command = entry.get("command") if isinstance(entry, dict) else None
    return command if isinstance(command, str) and command.strip() and "\0" not in command else None


def name_of(entry: Mapping[str, Any], otherwise: str) -> str:
    name = entry.get("name")
    return name if isinstance(name, str) and name else otherwise
