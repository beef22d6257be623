"""Code, run once in a process of its own."""

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox.call import Call, json_response, text_of
from moonpool.dialects.daytona.toolbox.errors import ExecutionTimedOut
from moonpool.dialects.daytona.toolbox.models import CodeRunRequest
from moonpool.errors import InvalidInput
from moonpool.processes.code import RUNTIMES, Code
from moonpool.processes.model import checked_timeout


async def run(call: Call) -> Response:
    request = await call.body(CodeRunRequest)
    if not request.code:
        raise InvalidInput("code is required", field="code")
    if request.language not in RUNTIMES:
        raise InvalidInput(f"bad request: unsupported language: {request.language}", field="language")
    code = Code(
        text=request.code,
        language=request.language,
        arguments=tuple(request.argv or ()),
        environment=request.envs or {},
        timeout=checked_timeout(request.timeout),
    )
    return await outcome(call, code)


async def outcome(call: Call, code: Code) -> Response:
    result = await call.unless_gone(call.tools.code.run(call.principal, call.sandbox, code))
    if result.process.timed_out:
        raise ExecutionTimedOut
    return json_response(
        {
            "exitCode": result.process.exit_code,
            "result": text_of(result.output),
            "artifacts": {"charts": list(result.charts)},
        }
    )
