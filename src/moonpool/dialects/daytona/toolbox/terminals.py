"""Terminals: making, listing, resizing and ending them. Their websockets are in ``terminal_sockets.py``."""

from typing import Any

from starlette.responses import Response

from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.models import (
    DEFAULT_COLUMNS,
    DEFAULT_ROWS,
    PtyCreateRequest,
    PtyResizeRequest,
)
from moonpool.ids import new_uuid
from moonpool.processes.model import Terminal
from moonpool.processes.terminals import TERM, NewTerminal

CREATED = 201


async def create(call: Call) -> Response:
    request = await call.body(PtyCreateRequest)
    new = NewTerminal(
        id=request.id or new_uuid(),
        rows=request.rows or DEFAULT_ROWS,
        columns=request.cols or DEFAULT_COLUMNS,
        cwd=request.cwd or None,
        environment=request.envs or {},
        lazy=bool(request.lazyStart),
    )
    terminal = await call.tools.terminals.create(call.principal, call.sandbox, new)
    return json_response({"sessionId": terminal.id}, CREATED)


async def list_terminals(call: Call) -> Response:
    terminals = await call.tools.terminals.list(call.principal, call.sandbox)
    return json_response({"sessions": [terminal_document(terminal) for terminal in terminals]})


async def get(call: Call) -> Response:
    terminal = await call.tools.terminals.get(call.principal, call.sandbox, call.parameters["terminal"])
    return json_response(terminal_document(terminal))


async def resize(call: Call) -> Response:
    request = await call.body(PtyResizeRequest)
    terminal = await call.tools.terminals.resize(
        call.principal, call.sandbox, call.parameters["terminal"], request.rows, request.cols
    )
    return json_response(terminal_document(terminal))


async def delete(call: Call) -> Response:
    await call.tools.terminals.delete(call.principal, call.sandbox, call.parameters["terminal"])
    return json_response({"message": "PTY session deleted"})


def terminal_document(terminal: Terminal) -> dict[str, Any]:
    return {
        "id": terminal.id,
        "cwd": terminal.cwd,
        "envs": {"TERM": TERM, **terminal.environment},
        "cols": terminal.columns,
        "rows": terminal.rows,
        "createdAt": timestamp(terminal.created_at),
        "active": terminal.running,
        "lazyStart": terminal.lazy,
    }
