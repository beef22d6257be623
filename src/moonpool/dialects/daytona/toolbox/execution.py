"""One-shot commands."""

from starlette.responses import Response

from moonpool.dialects.common.bulk import json_answer
from moonpool.dialects.daytona.toolbox import written_commands
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.code import outcome
from moonpool.dialects.daytona.toolbox.errors import ExecutionTimedOut, InvalidBody
from moonpool.dialects.daytona.toolbox.models import ExecuteRequest
from moonpool.errors import WorkingDirectoryNotFound
from moonpool.guest.model import ProcessSpec
from moonpool.processes.code import Code
from moonpool.processes.model import checked_timeout

NOT_STARTED = -1  # exit code
# The vendor's own words, which its clients' users compare with.
EMPTY_COMMAND = (
    "invalid body request: invalid request body: "
    "Key: 'ExecuteRequest.Command' Error:Field validation for 'Command' failed on the 'required' tag"
)


async def execute(call: Call) -> Response:
    request = await call.body(ExecuteRequest)
    if not request.command.strip():
        raise InvalidBody(EMPTY_COMMAND, field="command")
    written = written_commands.read(request.command)
    environment = (request.envs or {}) | written.environment
    timeout = checked_timeout(request.timeout)
    if written.program is not None and not request.cwd:
        return await outcome(call, Code(written.program, "typescript", written.arguments, environment, timeout))
    spec = ProcessSpec(
        shell=written.command,
        cwd=request.cwd or None,
        env=environment,
        timeout=timeout,
        merge_output=True,
    )
    try:
        result = await call.unless_gone(call.tools.processes.run(call.principal, call.sandbox, spec))
    except WorkingDirectoryNotFound as error:
        return json_response({"exitCode": NOT_STARTED, "result": error.message})
    if result.timed_out:
        raise ExecutionTimedOut
    return json_answer({"exitCode": result.exit_code, "result": result.stdout})
