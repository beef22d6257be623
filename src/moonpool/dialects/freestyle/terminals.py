"""Terminals: which there are, and what they have shown."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.responses import Response

from moonpool.dialects.freestyle.lookup import open_session
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import (
    LogEntry,
    TerminalListResponse,
    TerminalLogsArrayResponse,
    TerminalLogsResponse,
    TerminalSession,
)
from moonpool.dialects.freestyle.shells import MARK
from moonpool.dialects.freestyle.vms import moment
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Output
from moonpool.processes.terminals import TAG, find

# Control sequences: of the screen (CSI), of the operating system (OSC, whatever its end), and short ones.
ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|[\x00-\x08\x0b\x0c\x0e-\x1f]"
)


async def list_terminals(call: Call) -> Response:
    async with open_session(call) as session:
        processes = await session.agent.processes()
    sessions = [
        TerminalSession(
            name=(process.tag or "").removeprefix(TAG),
            status="running" if process.running else "exited",
            created=moment(datetime.fromtimestamp(process.started_at, UTC)),
        )
        for process in processes
        if (process.tag or "").startswith(TAG)
    ]
    return answer(TerminalListResponse(terminals=sessions))


async def get_terminal_logs(call: Call) -> Response:
    """Line by line, as plain text."""
    text = (await shown(call)).decode(errors="replace")
    return answer(TerminalLogsArrayResponse(logs=[LogEntry(line=line) for line in plain_lines(text)]))


async def get_terminal_xterm(call: Call) -> Response:
    """Whole, with its control sequences."""
    return answer(TerminalLogsResponse(output=(await shown(call)).decode(errors="replace")))


async def shown(call: Call) -> bytes:
    """As far back as it is kept. TerminalNotFound."""
    async with open_session(call) as session:
        return MARK.sub(b"", await output_of(session.agent, call.path("terminal_id")))


async def output_of(agent: AgentClient, name: str) -> bytes:
    """What has been written up to now: a terminal that goes on writing is not waited for."""
    info = await find(agent, name)
    pieces, read = [], 0
    if not info.written:
        return b""
    async with agent.attach(info.pid, replay=True) as events:
        async for event in events:
            if isinstance(event, Output):
                pieces.append(event.data)
                read += len(event.data) + event.dropped
                if read >= info.written:
                    break
    return b"".join(pieces)


def plain_lines(text: str) -> list[str]:
    """Of a line that was written over, its last form."""
    lines = ESCAPES.sub("", text.replace("\r\n", "\n")).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


HANDLERS: Mapping[str, Handler] = {
    "list_terminals": list_terminals,
    "get_terminal_logs": get_terminal_logs,
    "get_terminal_xterm": get_terminal_xterm,
}
