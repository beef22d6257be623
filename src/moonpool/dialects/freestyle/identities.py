"""Identities, their tokens, and their permissions for VMs. Beside the contract: the SDKs have them."""

from collections.abc import Mapping
from typing import Any

from pydantic import StrictStr
from starlette.responses import JSONResponse, Response

from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.operation import Operation
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.dialects.freestyle.vms import moment
from moonpool.dialects.freestyle.wire import WireModel
from moonpool.errors import SandboxNotFound
from moonpool.identities.model import Permission

PREFIX = "/identity/v1"
PAGE = 100  # where a list asks for no number
MOST = 1000  # of a page

IDENTITY = f"{PREFIX}/identities/{{identity}}"
VM = f"{IDENTITY}/permissions/vm/{{permitted}}"
OPERATIONS = (
    Operation("list_identities", "GET", f"{PREFIX}/identities"),
    Operation("create_identity", "POST", f"{PREFIX}/identities"),
    Operation("delete_identity", "DELETE", IDENTITY),
    Operation("list_identity_tokens", "GET", f"{IDENTITY}/tokens"),
    Operation("create_identity_token", "POST", f"{IDENTITY}/tokens"),
    Operation("revoke_identity_token", "DELETE", f"{IDENTITY}/tokens/{{token}}"),
    Operation("list_vm_permissions", "GET", f"{IDENTITY}/permissions/vm"),
    Operation("get_vm_permission", "GET", VM),
    Operation("grant_vm_permission", "POST", VM),
    Operation("update_vm_permission", "PUT", VM),
    Operation("revoke_vm_permission", "DELETE", VM),
)


class AllowedUsers(WireModel):
    allowedUsers: list[StrictStr] | None = None

    @property
    def users(self) -> tuple[str, ...] | None:
        return None if self.allowedUsers is None else tuple(self.allowedUsers)


async def list_identities(call: Call) -> Response:
    offset, limit = part(call)
    page, total = await call.services.identities.list(call.principal, offset, limit)
    listed = [{"id": identity.id, "managed": False} for identity in page]
    return JSONResponse({"identities": listed, "offset": offset, "total": total})


async def create_identity(call: Call) -> Response:
    made = await call.services.identities.create(call.principal)
    return JSONResponse({"id": made.id, "managed": False})


async def delete_identity(call: Call) -> Response:
    await call.services.identities.delete(call.principal, call.path("identity"))
    return JSONResponse({})


async def list_identity_tokens(call: Call) -> Response:
    tokens = await call.services.identities.tokens(call.principal, call.path("identity"))
    return JSONResponse({"tokens": [{"id": token.id} for token in tokens]})


async def create_identity_token(call: Call) -> Response:
    made = await call.services.identities.create_token(call.principal, call.path("identity"))
    return JSONResponse({"id": made.token.id, "token": made.secret})


async def revoke_identity_token(call: Call) -> Response:
    await call.services.identities.revoke_token(call.principal, call.path("identity"), call.path("token"))
    return JSONResponse({})


async def list_vm_permissions(call: Call) -> Response:
    offset, limit = part(call)
    found = await call.services.identities.permissions(call.principal, call.path("identity"))
    listed = [document(permission) for permission in found[offset : offset + limit]]
    return JSONResponse({"permissions": listed, "offset": offset, "total": len(found)})


async def get_vm_permission(call: Call) -> Response:
    found = await call.services.identities.permission(call.principal, call.path("identity"), call.path("permitted"))
    return JSONResponse(document(found))


async def grant_vm_permission(call: Call) -> Response:
    """Without ``allowedUsers`` as every user of the VM."""
    body, vm_id = await call.parse(AllowedUsers), call.path("permitted")
    try:
        made = await call.services.identities.grant(call.principal, call.path("identity"), vm_id, body.users)
    except SandboxNotFound:
        raise FreestyleError(404, "VM_NOT_FOUND", f"VM not found: {vm_id[:200]}", vm_id=vm_id[:200]) from None
    return JSONResponse(document(made))


async def update_vm_permission(call: Call) -> Response:
    body = await call.parse(AllowedUsers)
    identity, vm_id = call.path("identity"), call.path("permitted")
    return JSONResponse(document(await call.services.identities.set_users(call.principal, identity, vm_id, body.users)))


async def revoke_vm_permission(call: Call) -> Response:
    await call.services.identities.revoke(call.principal, call.path("identity"), call.path("permitted"))
    return JSONResponse({})


def part(call: Call) -> tuple[int, int]:
    """Offset and limit."""
    limit = call.number("limit")
    return call.number("offset") or 0, PAGE if limit is None else min(limit, MOST)


def document(permission: Permission) -> dict[str, Any]:
    return {
        "id": permission.id,
        "vmId": permission.sandbox_id,
        "identityId": permission.identity_id,
        "allowedUsers": None if permission.users is None else list(permission.users),
        "grantedAt": moment(permission.created_at),
        "grantedBy": permission.granted_by,
    }


HANDLERS: Mapping[str, Handler] = {
    "list_identities": list_identities,
    "create_identity": create_identity,
    "delete_identity": delete_identity,
    "list_identity_tokens": list_identity_tokens,
    "create_identity_token": create_identity_token,
    "revoke_identity_token": revoke_identity_token,
    "list_vm_permissions": list_vm_permissions,
    "get_vm_permission": get_vm_permission,
    "grant_vm_permission": grant_vm_permission,
    "update_vm_permission": update_vm_permission,
    "revoke_vm_permission": revoke_vm_permission,
}
