"""Shell sessions and their commands."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from moonpool.dialects.common.bulk import json_answer
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.models import (
    CreateSessionRequest,
    SessionExecuteRequest,
    SessionSendInputRequest,
)
from moonpool.dialects.daytona.toolbox.session_logs import log_document
from moonpool.errors import InvalidInput
from moonpool.processes.model import SessionCommand, ShellSession

CREATED, ACCEPTED, NO_CONTENT = 201, 202, 204
ENTRYPOINT = "entrypoint"  # what the sandbox's image has had started, where it has
ENTRYPOINT_COMMAND = "entrypoint_command"


async def create(call: Call) -> Response:
    request = await call.body(CreateSessionRequest)
    if request.sessionId == ENTRYPOINT:
        raise InvalidInput(f"{ENTRYPOINT} is not a session of yours", field="sessionId")
    await call.tools.sessions.create(call.principal, call.sandbox, request.sessionId)
    return Response(status_code=CREATED)


async def list_sessions(call: Call) -> Response:
    sessions = await call.tools.sessions.list(call.principal, call.sandbox)
    return json_response([session_document(session) for session in sessions])


async def get(call: Call) -> Response:
    session = await call.tools.sessions.get(call.principal, call.sandbox, call.parameters["session"])
    return json_response(session_document(session))


async def entrypoint(call: Call) -> Response:
    info = await call.tools.entrypoints.get(call.principal, call.sandbox)
    commands = () if info is None else (SessionCommand(ENTRYPOINT_COMMAND, quoted(info.argv), info.exit_code),)
    return json_response(session_document(ShellSession(ENTRYPOINT, commands)))


async def delete(call: Call) -> Response:
    await call.tools.sessions.delete(call.principal, call.sandbox, call.parameters["session"])
    return Response(status_code=NO_CONTENT)


async def execute(call: Call) -> Response:
    request = await call.body(SessionExecuteRequest)
    if not request.command.strip():
        raise InvalidInput("empty command", field="command")
    sessions, session_id = call.tools.sessions, call.parameters["session"]
    if request.background:
        command = await sessions.execute_in_background(
            call.principal, call.sandbox, session_id, request.command, echo_input=not request.suppressInputEcho
        )
        unknown = dict.fromkeys(("output", "stdout", "stderr", "exitCode"))
        return json_response({"cmdId": command.id, **unknown}, ACCEPTED)
    command, logs = await call.unless_gone(sessions.execute(call.principal, call.sandbox, session_id, request.command))
    return json_answer({"cmdId": command.id, "exitCode": command.exit_code, **log_document(call, logs)})


async def get_command(call: Call) -> Response:
    session_id, command_id = call.parameters["session"], call.parameters["command"]
    command = await call.tools.sessions.command(call.principal, call.sandbox, session_id, command_id)
    return json_response(command_document(command))


async def send_input(call: Call) -> Response:
    request = await call.body(SessionSendInputRequest)
    session_id, command_id = call.parameters["session"], call.parameters["command"]
    await call.tools.sessions.send_input(call.principal, call.sandbox, session_id, command_id, request.data)
    return Response(status_code=NO_CONTENT)


def quoted(words: Iterable[str]) -> str:
    """As a shell would take them, each in quotes of its own, as the vendor's server says them."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


def session_document(session: ShellSession) -> dict[str, Any]:
    return {"sessionId": session.id, "commands": [command_document(command) for command in session.commands]}


def command_document(command: SessionCommand) -> dict[str, Any]:
    """Without an exit code while the command waits or runs."""
    ended = {} if command.exit_code is None else {"exitCode": command.exit_code}
    return {"id": command.id, "command": command.text, **ended}
