"""The code interpreter: Python or JavaScript that keeps its variables, and the websocket that runs code in it."""

import contextlib
import json
from typing import Any

from starlette.responses import Response

from moonpool.dialects.daytona.requests import validated
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.errors import InvalidBody, error_document
from moonpool.dialects.daytona.toolbox.models import CreateContextRequest, InterpreterExecuteRequest
from moonpool.dialects.daytona.toolbox.sockets import (
    EXECUTION_TIMEOUT,
    INTERNAL_ERROR,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    reason,
    until_closed,
)
from moonpool.errors import GuestError, InvalidInput, MoonpoolError
from moonpool.processes.interpreters import Execution, ExecutionTimeout
from moonpool.processes.model import Interpreter

INTERRUPTED = {"type": "control", "text": "interrupted"}
DEFAULT_TIMEOUT = 600.0  # seconds, where the client names none; 0 is none at all


async def create_context(call: Call) -> Response:
    request = await call.body(CreateContextRequest)
    context = await call.tools.interpreters.create(
        call.principal,
        call.sandbox,
        cwd=request.cwd or None,
        language=request.language,
        environment=request.envs,
    )
    return json_response(context_document(context))


async def list_contexts(call: Call) -> Response:
    contexts = await call.tools.interpreters.list(call.principal, call.sandbox)
    return json_response({"contexts": [context_document(context) for context in contexts]})


async def delete_context(call: Call) -> Response:
    await call.tools.interpreters.delete(call.principal, call.sandbox, call.parameters["context"])
    return json_response({"message": "context deleted"})


async def execute(call: Call) -> None:
    """One piece of code a connection: its first message says which, the close says how it went."""
    async with call.tools.sandboxes.session(call.principal, call.sandbox):
        await call.socket.accept()
    message = await call.socket.receive()
    if message["type"] == "websocket.disconnect":
        return
    try:
        said = (message.get("text") or "").encode() or message.get("bytes") or b""
        request = validated(said, InterpreterExecuteRequest, InvalidBody)
        await until_closed(call, run(call, request))
    except ExecutionTimeout:
        # The JavaScript SDK takes this for the end and answers with what was said; the Python SDK goes by the close.
        await call.socket.send_text(json.dumps(INTERRUPTED))
        await call.socket.close(EXECUTION_TIMEOUT, "execution timed out")
    except MoonpoolError as error:
        wrong = isinstance(error, InvalidInput | GuestError)
        text = error_document(call.connection, error)["message"]
        await call.socket.close(POLICY_VIOLATION if wrong else INTERNAL_ERROR, reason(text))


async def run(call: Call, request: InterpreterExecuteRequest) -> None:
    execution = Execution(
        code=request.code,
        interpreter_id=request.contextId or None,
        environment=request.envs,
        timeout=DEFAULT_TIMEOUT if request.timeout is None else request.timeout,
    )
    events = call.tools.interpreters.execute(call.principal, call.sandbox, execution)
    async with contextlib.aclosing(events):
        async for event in events:
            await call.socket.send_text(json.dumps(event))
    await call.socket.close(NORMAL_CLOSURE)


def context_document(context: Interpreter) -> dict[str, Any]:
    return {
        "id": context.id,
        "cwd": context.cwd,
        "createdAt": timestamp(context.created_at),
        "active": context.running,
        "language": context.language,
    }
