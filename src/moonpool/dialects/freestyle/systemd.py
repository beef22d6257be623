"""Services of a VM."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.freestyle.extensions import SystemdUnitSpec
from moonpool.dialects.freestyle.lookup import awake
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import (
    BatchServiceOperationResult,
    BatchServiceRequest,
    BatchServiceResponse,
    JournaldLogItem,
    JournaldLogsResponse,
    SystemdCreateServiceResponse,
    SystemdDeleteServiceResponse,
    SystemdListServicesResponse,
    SystemdServiceListItem,
    SystemdServiceStatus,
)
from moonpool.dialects.freestyle.units import bare, spec_of
from moonpool.dialects.freestyle.vms import moment
from moonpool.errors import InvalidInput, InvalidUnit, UnitNotFound
from moonpool.processes.units.model import UnitResult
from moonpool.processes.units.service import UnitService

MAX_LINES = 100_000
LINES = 100  # where none are asked for

Act = Callable[[UnitService, Principal, str, Sequence[str]], Awaitable[list[UnitResult]]]
Result = TypeVar("Result")


async def list_services(call: Call) -> Response:
    service, vm_id = await units(call)
    found = await service.list(call.principal, vm_id)
    return answer(SystemdListServicesResponse(services=[SystemdServiceListItem(name=unit.name) for unit in found]))


async def create_service(call: Call) -> Response:
    """Written, enabled and started; a start that fails shows in its status."""
    wanted = spec_of(await call.parse(SystemdUnitSpec))
    service, vm_id = await units(call)
    unit = await service.create(call.principal, vm_id, wanted, start=wanted.enable)
    message = f"Service {bare(unit.name)} created ({unit.active_state})"
    return answer(SystemdCreateServiceResponse(success=True, message=message, serviceName=unit.name))


async def delete_service(call: Call) -> Response:
    service, vm_id = await units(call)
    name = call.path("service_id")
    await found_by(name, service.delete(call.principal, vm_id, name))
    return answer(SystemdDeleteServiceResponse(success=True, message=f"Service {bare(name)} deleted"))


async def get_service_status(call: Call) -> Response:
    service, vm_id = await units(call)
    name = call.path("service_id")
    unit = await found_by(name, service.get(call.principal, vm_id, name))
    return answer(
        SystemdServiceStatus(
            name=unit.name,
            activeState=unit.active_state,
            subState=unit.sub_state,
            loadState=unit.load_state,
            description=unit.description,
        )
    )


async def get_service_logs(call: Call) -> Response:
    """``lines`` from the end, ``since`` a moment (RFC 3339 or Unix seconds)."""
    lines = call.number("lines")
    if lines is not None and lines > MAX_LINES:
        raise InvalidInput(f"lines: must be at most {MAX_LINES}", field="lines")
    since = seconds_of(call.request.query_params.get("since"))
    service, vm_id = await units(call)
    name = call.path("service_id")
    wanted = LINES if lines is None and since is None else lines
    found = await found_by(name, service.logs(call.principal, vm_id, name, lines=wanted, since=since))
    items = [
        JournaldLogItem(
            message=line.message,
            timestamp=moment(datetime.fromtimestamp(line.timestamp, UTC)),
            priority=str(line.priority),
            unit=line.unit,
        )
        for line in found
    ]
    return answer(JournaldLogsResponse(logs=items))


async def batch_start_services(call: Call) -> Response:
    return await batch(call, UnitService.start)


async def batch_stop_services(call: Call) -> Response:
    return await batch(call, UnitService.stop)


async def batch_restart_services(call: Call) -> Response:
    return await batch(call, UnitService.restart)


async def batch(call: Call, act: Act) -> Response:
    wanted = await call.parse(BatchServiceRequest)
    service, vm_id = await units(call)
    done = await act(service, call.principal, vm_id, [item.id for item in wanted.services])
    results = [
        BatchServiceOperationResult(serviceId=result.name, success=result.success, message=result.message)
        for result in done
    ]
    return answer(BatchServiceResponse(results=results))


async def units(call: Call) -> tuple[UnitService, str]:
    """The service, and the id of the VM, which runs now."""
    sandbox = await awake(call)
    return UnitService(call.services.sandboxes), sandbox.id


async def found_by(name: str, work: Awaitable[Result]) -> Result:
    """What ``work`` gives; SERVICE_NOT_FOUND also for a name that no service can have."""
    try:
        return await work
    except (UnitNotFound, InvalidUnit):
        raise FreestyleError(404, "SERVICE_NOT_FOUND", f"Service '{name}' not found", service_name=name) from None


def seconds_of(since: str | None) -> float | None:
    """Unix seconds."""
    if not since:
        return None
    try:
        return float(since)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(since)
    except ValueError:
        raise InvalidInput("since: must be a date and time, or Unix seconds", field="since") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


HANDLERS: Mapping[str, Handler] = {
    "list_services": list_services,
    "create_service": create_service,
    "delete_service": delete_service,
    "get_service_status": get_service_status,
    "get_service_logs": get_service_logs,
    "batch_start_services": batch_start_services,
    "batch_stop_services": batch_stop_services,
    "batch_restart_services": batch_restart_services,
}
