"""Who makes a request: a key of a team, or an identity with a token of its own, which may do little."""

from starlette.requests import HTTPConnection

from moonpool.access.model import Principal
from moonpool.dialects.common.authentication import ASKER, principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.identities.model import Guest

IDENTITY_TOKEN = "x-freestyle-identity-access-token"  # noqa: S105 - a header's name
OF_NO_VM = frozenset({"whoami", "list_vms"})
OF_A_USER = frozenset(
    {
        "get_vm",
        "exec_await",
        "get_file",
        "put_file",
        "watch_files",
        "list_terminals",
        "get_terminal_logs",
        "get_terminal_xterm",
        "open_pty",
        "attach_pty",
        "list_pty_sessions",
        "close_pty_session",
    }
)
"""What an identity may do as one of the users that it may act as. What else there is on a VM acts as root."""
OF_A_VM = OF_A_USER | {
    "wait_vm",
    "start_vm",
    "stop_vm",
    "suspend_vm",
    "kill_vm",
    "stats_stream",
    "list_services",
    "create_service",
    "delete_service",
    "get_service_logs",
    "get_service_status",
    "batch_start_services",
    "batch_stop_services",
    "batch_restart_services",
    "get_logs",
}
"""What one may do that may act as every user. Everything else is for the team's keys."""


async def caller(connection: HTTPConnection, services: Services) -> tuple[Principal, Guest | None]:
    """By the key where there is one. Unauthorized, KeyExpired, RateLimited."""
    token = connection.headers.get(IDENTITY_TOKEN)
    if token is None or "authorization" in connection.headers:
        return await principal(connection, services.access), None
    guest = await services.identities.authenticate(token)
    connection.scope[ASKER] = guest.principal
    return guest.principal, guest


def check_guest(guest: Guest, operation: str, vm_id: str, user: str | None, services: Services) -> None:
    """VM_ACCESS_DENIED whether or not there is such a VM; ACCESS_DENIED for what no identity may do."""
    if operation in OF_NO_VM:
        return
    if operation not in OF_A_VM:
        raise FreestyleError(403, "ACCESS_DENIED", "An identity's token may not do that: use an API key")
    if vm_id not in guest.permissions:
        raise FreestyleError(403, "VM_ACCESS_DENIED", "This identity has no access to that VM", vm_id=vm_id)
    if guest.permissions[vm_id] is None:
        return
    sandbox = services.sandboxes.peek(vm_id)
    acting = user or (sandbox.user if sandbox else "")
    if operation not in OF_A_USER or not guest.may_act_as(vm_id, acting):
        allowed = ", ".join(guest.permissions[vm_id] or ()) or "nobody"
        message = f"This identity may act as {allowed} on that VM, not as {acting or 'root'}"
        raise FreestyleError(403, "VM_ACCESS_DENIED", message, vm_id=vm_id)
