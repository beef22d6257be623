"""One-shot commands."""

import re
from base64 import b64decode

from starlette.responses import Response

from moonpool.dialects.common.bulk import json_answer
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.errors import ExecutionTimedOut, InvalidBody
from moonpool.dialects.daytona.toolbox.models import ExecuteRequest
from moonpool.errors import WorkingDirectoryNotFound
from moonpool.guest.model import ProcessSpec
from moonpool.processes.model import checked_timeout

NOT_STARTED = -1  # exit code
# The vendor's own words, which its clients' users compare with.
EMPTY_COMMAND = (
    "invalid body request: invalid request body: "
    "Key: 'ExecuteRequest.Command' Error:Field validation for 'Command' failed on the 'required' tag"
)
BASE64 = "'([A-Za-z0-9+/]*={0,2})'"
EXPORT = rf"export ([A-Za-z_][A-Za-z0-9_]*)=\$\(echo {BASE64} \| base64 -d\);"
# As SDKs before 0.167 send a command that has an environment
EXPORTED = re.compile(rf'sh -c "(?P<exports>(?:{EXPORT})+) (?P<command>echo {BASE64} \| base64 -d \| sh)"')


async def execute(call: Call) -> Response:
    request = await call.body(ExecuteRequest)
    if not request.command.strip():
        raise InvalidBody(EMPTY_COMMAND, field="command")
    command, exported = without_exports(request.command)
    spec = ProcessSpec(
        shell=command,
        cwd=request.cwd or None,
        env=(request.envs or {}) | exported,
        timeout=checked_timeout(request.timeout),
        merge_output=True,
    )
    try:
        result = await call.unless_gone(call.tools.processes.run(call.principal, call.sandbox, spec))
    except WorkingDirectoryNotFound as error:
        return json_response({"exitCode": NOT_STARTED, "result": error.message})
    if result.timed_out:
        raise ExecutionTimedOut
    return json_answer({"exitCode": result.exit_code, "result": result.stdout})


def without_exports(command: str) -> tuple[str, dict[str, str]]:
    """``command`` and the environment that an old SDK has written into it.

    Their server split a command into words before any shell saw it; a shell would put each value in its place within
    the quotes, where spaces and quotes of the value break it.
    """
    found = EXPORTED.fullmatch(command)
    if found is None:
        return command, {}
    try:
        exported = {name: b64decode(value).decode() for name, value in re.findall(EXPORT, found["exports"])}
    except ValueError:
        return command, {}
    return (command, {}) if any("\0" in value for value in exported.values()) else (found["command"], exported)
