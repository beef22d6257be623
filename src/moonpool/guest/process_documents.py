"""Processes as they are spoken of with the agent: what is to be started, and what comes back."""

from collections.abc import AsyncIterator
from typing import Any

from moonpool.errors import InvalidInput, TooLarge
from moonpool.guest.connection import ClientStream, within
from moonpool.guest.model import Exited, Output, OutputStream, ProcessEvent, ProcessInfo, ProcessSpec
from moonpool.guest.protocol import DATA, DATA_STDERR, EVENT, MAX_MESSAGE, REPLY, decode

MAX_BODY = MAX_MESSAGE - (1 << 20)  # bytes of a command or input that one request carries


def process_document(spec: ProcessSpec) -> dict[str, Any]:
    """Only what is not as the agent assumes anyway."""
    document: dict[str, Any] = {"replay_bytes": spec.replay_bytes}
    if (spec.argv is None) == (spec.shell is None):
        raise InvalidInput("Either argv or a shell command is needed", field="argv")
    if spec.shell is not None and len(spec.shell) > MAX_BODY // 2:
        raise TooLarge("The command is too long")
    for name in ("argv", "shell", "cwd", "user", "timeout", "tag"):
        value = getattr(spec, name)
        if value is not None:
            document[name] = value
    for name in ("stdin", "merge_output"):
        if getattr(spec, name):
            document[name] = True
    if spec.env:
        document["env"] = dict(spec.env)
    if spec.terminal is not None:
        document["rows"], document["cols"] = spec.terminal.rows, spec.terminal.cols
    return document


def process_info(document: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(**{**document, "argv": tuple(document["argv"])})


async def process_events(stream: ClientStream, info: ProcessInfo) -> AsyncIterator[ProcessEvent]:
    name: OutputStream = "terminal" if info.terminal else "stdout"
    dropped = 0
    while (item := await within(None, stream.next())).kind != REPLY:
        if item.kind == EVENT:
            dropped += decode(item.payload).document["dropped"]
        elif item.kind in (DATA, DATA_STDERR):
            yield Output("stderr" if item.kind == DATA_STDERR else name, item.payload, dropped)
            dropped = 0
    last = decode(item.payload).document
    yield Exited(last["exit_code"], last["signal"], last["timed_out"])
