"""What the sandbox is: its folders, the server's version, its environment."""

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.models import InitializeRequest, UpdateEnvRequest
from moonpool.processes.model import checked_environment

HOME = "~"


async def version(call: Call) -> Response:
    return json_response({"version": call.tools.services.server.version})


async def home(call: Call) -> Response:
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        return json_response({"dir": (await files.stat(HOME)).path})


async def work_folder(call: Call) -> Response:
    """Commands without a folder, and relative paths, start at the user's home."""
    return await home(call)


async def initialize(call: Call) -> Response:
    """What the vendor's own platform calls at a start; here the sandbox is ready by then."""
    await call.body(InitializeRequest)
    async with call.tools.sandboxes.session(call.principal, call.sandbox):
        return json_response({"message": "initialized"})


async def update_environment(call: Call) -> Response:
    """For processes that start from now on; it lasts as long as the sandbox's memory does."""
    request = await call.body(UpdateEnvRequest)
    checked_environment(request.set)
    checked_environment(dict.fromkeys(request.unset or (), ""))
    given = dict(request.set or {})
    async with call.tools.sandboxes.session(call.principal, call.sandbox) as session:
        unset = list(request.unset or ())
        if request.unsetValuePrefix:
            present = await session.agent.environment()
            prefix = request.unsetValuePrefix
            unset += [name for name, value in present.items() if value.startswith(prefix) and name not in given]
        await session.agent.environment(given, unset)
    return json_response({"message": "environment updated"})
