"""Who one is, what VMs and builds have said, and requests that go on in the background. Beside the contract: the SDKs
have them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from moonpool.dialects.freestyle.lookup import not_running, settled
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.operation import Operation
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.dialects.freestyle.systemd import found_by, seconds_of
from moonpool.dialects.freestyle.vms import moment
from moonpool.errors import InvalidInput
from moonpool.processes.units.model import LogLine
from moonpool.processes.units.service import UnitService
from moonpool.sandboxes.model import SandboxState

AUTH, LOGS = "/auth/v1", "/observability/v1"
OPERATIONS = (
    Operation("whoami", "GET", f"{AUTH}/whoami"),
    Operation("get_background_request", "GET", f"{AUTH}/background-requests/{{request_id}}"),
    Operation("get_logs", "GET", f"{LOGS}/logs"),
)
PAGE, MOST = 100, 1000  # lines of logs that are told
READ = 10_000  # lines, the newest, that are looked through
LEVELS = ("fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug")  # of syslog's priorities


async def whoami(call: Call) -> Response:
    identity = call.guest.identity_id if call.guest else None
    return JSONResponse({"accountId": call.principal.team_id, "identityId": identity})


async def get_background_request(call: Call) -> Response:
    """Every request is answered when it is done, so that none goes on by itself."""
    raise FreestyleError(404, "NOT_FOUND", f"No request {call.path('request_id')[:200]} is under way")


async def get_logs(call: Call) -> Response:
    """The journal of a VM (``vmId``), of one of its services alone with ``vmService``; the last ``pageSize`` lines."""
    query = call.request.query_params
    if not query.get("vmId"):
        message = "Logs are kept of VMs: name one as vmId. What a build has said is in the build's own record"
        raise FreestyleError(404, "LOGS_NOT_FOUND", message)
    since, until = seconds_of(query.get("startTime")), seconds_of(query.get("endTime"))
    wanted = min(call.number("pageSize") or PAGE, MOST)
    lines = [
        line
        for line in await journal(call, query.get("vmService") or None, since)
        if (until is None or line.timestamp <= until) and query.get("search", "") in line.message
    ]
    skipped = page_token(query.get("pageToken"))
    end = len(lines) - skipped
    shown = lines[max(0, end - wanted) : max(0, end)]
    more = str(skipped + wanted) if end > wanted else None
    return JSONResponse({"logs": [entry(call, line) for line in shown], "nextPageToken": more})


async def journal(call: Call, name: str | None, since: float | None) -> list[LogLine]:
    """The oldest first. Watching is no use of the VM, and wakes none."""
    sandbox = await settled(call)
    if sandbox.state is not SandboxState.RUNNING:
        raise not_running(sandbox)
    service = UnitService(call.services.sandboxes)
    if name is None:
        return await service.journal(call.principal, sandbox.id, lines=READ, since=since)
    return await found_by(name, service.logs(call.principal, sandbox.id, name, lines=READ, since=since))


def page_token(text: str | None) -> int:
    """How many of the newest lines were told before."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise InvalidInput("pageToken: not one of this server", field="pageToken")
    return int(text)


def entry(call: Call, line: LogLine) -> dict[str, Any]:
    return {
        "message": line.message,
        "timestamp": moment(datetime.fromtimestamp(line.timestamp, UTC)),
        "source": "vm",
        "resourceType": "vm",
        "resourceId": call.vm_id,
        "level": LEVELS[line.priority],
        "vmService": line.unit,
    }


HANDLERS: Mapping[str, Handler] = {
    "whoami": whoami,
    "get_background_request": get_background_request,
    "get_logs": get_logs,
}
