"""Commands: exec-await, by itself or in a terminal."""

from collections.abc import Mapping

from starlette.responses import Response

from moonpool.dialects.common.bulk import json_answer
from moonpool.dialects.freestyle.lookup import folder_of, open_session
from moonpool.dialects.freestyle.mapping import timed_out
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.dialects.freestyle.schemas import ExecAwaitRequest, ExecAwaitVmResponse
from moonpool.dialects.freestyle.shells import run_in_terminal
from moonpool.errors import TooLarge
from moonpool.guest.model import ProcessSpec
from moonpool.processes.model import checked_milliseconds
from moonpool.processes.service import check
from moonpool.sandboxes.model import AgentSession

OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes


async def exec_await(call: Call) -> Response:
    """All output at the end; a status that is not 0 is no error. Without ``timeoutMs`` a command may run for ever."""
    wanted = await call.parse(ExecAwaitRequest)
    seconds = checked_milliseconds(wanted.timeoutMs)
    async with open_session(call) as session:
        if wanted.terminal:
            ran = run_in_terminal(call, session, wanted.terminal, wanted.command, seconds)
        else:
            ran = run(call, session, wanted.command, seconds)
        return json_answer((await call.while_connected(ran)).model_dump(mode="json", exclude_none=True))


async def run(call: Call, session: AgentSession, command: str, seconds: float | None) -> ExecAwaitVmResponse:
    spec = ProcessSpec(
        shell=command if command.strip() else ":",
        cwd=folder_of(call, session.sandbox),
        user=call.linux_user or session.sandbox.user,
        timeout=seconds,
    )
    check(spec)
    result = await session.agent.run(spec, output_limit=OUTPUT_LIMIT)
    if result.timed_out:
        raise timed_out(seconds, result.stdout, result.stderr)
    if result.truncated:
        raise TooLarge(
            f"The command printed more than {OUTPUT_LIMIT // 1024 // 1024} MiB (status {result.exit_code})",
            hint="Send its output to a file.",
        )
    return ExecAwaitVmResponse(
        stdout=result.stdout.decode(errors="replace"),
        stderr=result.stderr.decode(errors="replace"),
        statusCode=result.exit_code,
    )


HANDLERS: Mapping[str, Handler] = {"exec_await": exec_await}
