"""One-shot commands."""

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox.call import Call, json_response, text_of
from moonpool.dialects.daytona.toolbox.errors import ExecutionTimedOut
from moonpool.dialects.daytona.toolbox.models import ExecuteRequest
from moonpool.errors import InvalidInput, WorkingDirectoryNotFound
from moonpool.guest.model import ProcessSpec
from moonpool.processes.model import checked_timeout

NOT_STARTED = -1  # exit code


async def execute(call: Call) -> Response:
    request = await call.body(ExecuteRequest)
    if not request.command.strip():
        raise InvalidInput("empty command", field="command")
    spec = ProcessSpec(
        shell=request.command,
        cwd=request.cwd or None,
        env=request.envs or {},
        timeout=checked_timeout(request.timeout),
        merge_output=True,
    )
    try:
        result = await call.unless_gone(call.tools.processes.run(call.principal, call.sandbox, spec))
    except WorkingDirectoryNotFound as error:
        return json_response({"exitCode": NOT_STARTED, "result": error.message})
    if result.timed_out:
        raise ExecutionTimedOut
    return json_response({"exitCode": result.exit_code, "result": text_of(result.stdout)})
