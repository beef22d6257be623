"""Domains that lead to VMs: given at a create, mapped and unmapped later, and the one that each VM has by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, StrictInt, StrictStr
from starlette.responses import JSONResponse, Response

from moonpool.access.model import Scope
from moonpool.dialects.freestyle.mapping import FreestyleError, data_of, derived_id
from moonpool.dialects.freestyle.operation import Operation
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.dialects.freestyle.schemas import VmDomainConfig
from moonpool.dialects.freestyle.wire import WireModel
from moonpool.errors import DomainTaken, InvalidInput, LimitExceeded, MappingNotFound
from moonpool.previews.model import DomainMapping
from moonpool.sandboxes.model import Sandbox

HTTPS = 443  # what a domain leads to, where nothing else is said
DEFAULT_PORTS: Sequence[Mapping[str, int]] = ({"port": HTTPS, "targetPort": 3000},)
PREFIX = "/domains/v1"
PAGE = 10  # mappings, where a list asks for no number
UNVERIFIED = "Domains are not verified on this server: map one to a VM, and whoever maps it first has it"

# Beside the contract: the SDKs have them.
OPERATIONS = (
    Operation("create_domain_mapping", "POST", f"{PREFIX}/mappings/{{domain}}"),
    Operation("delete_domain_mapping", "DELETE", f"{PREFIX}/mappings/{{domain}}"),
    Operation("list_domain_mappings", "GET", f"{PREFIX}/mappings"),
    Operation("list_domains", "GET", f"{PREFIX}/domains"),
    Operation("list_verifications", "GET", f"{PREFIX}/verifications"),
    Operation("create_verification", "POST", f"{PREFIX}/verifications"),
    Operation("complete_verification", "PUT", f"{PREFIX}/verifications"),
    Operation("cancel_verification", "DELETE", f"{PREFIX}/verifications"),
    Operation("create_wildcard_certificate", "POST", f"{PREFIX}/certs/{{domain}}/wildcard"),
)


class CreateMapping(WireModel):
    vmId: StrictStr | None = None
    deploymentId: StrictStr | None = None
    vmPort: StrictInt = Field(HTTPS, ge=1, le=65535)


def target_port(sandbox: Sandbox, port: int) -> int:
    """The port inside behind a VM's port, as its ports are set."""
    ports = data_of(sandbox).get("ports")
    table = {entry["port"]: entry["targetPort"] for entry in (DEFAULT_PORTS if ports is None else ports)}
    return table.get(port, port)


def has_web_port(sandbox: Sandbox) -> bool:
    ports = data_of(sandbox).get("ports")
    return ports is None or any(entry["port"] == HTTPS for entry in ports)


async def lead_here(call: Call, sandbox: Sandbox, wanted: Sequence[VmDomainConfig] = ()) -> list[str]:
    """Every domain that leads to this VM from now on; the wanted ones first."""
    domains = [(await mapped(call, sandbox, one.domain, one.vmPort or HTTPS)).domain for one in wanted]
    if has_web_port(sandbox):
        links, port = call.services.previews.links, target_port(sandbox, HTTPS)
        domains.append((await links.map_own(call.principal, sandbox.id, port)).domain)
    return domains


async def domains_of(call: Call, sandbox: Sandbox) -> list[str]:
    found = await call.services.previews.links.mappings(call.principal, sandbox.id)
    return [mapping.domain for mapping in found]


async def mapped(call: Call, sandbox: Sandbox, domain: str, port: int) -> DomainMapping:
    try:
        links = call.services.previews.links
        return await links.map_domain(call.principal, sandbox.id, domain, target_port(sandbox, port))
    except InvalidInput as error:
        raise FreestyleError(400, "INVALID_DOMAIN", f"{domain}: {error.message}") from error
    except DomainTaken as error:
        raise FreestyleError(400, "DOMAIN_ALREADY_EXISTS", error.message) from error
    except LimitExceeded as error:
        raise FreestyleError(400, "INVALID_DOMAINS", error.message) from error


async def create_domain_mapping(call: Call) -> Response:
    body = await call.parse(CreateMapping)
    if body.vmId is None:
        raise FreestyleError(400, "INVALID_REQUEST", "vmId: domains lead to VMs, there are no deployments here")
    sandbox = await call.services.sandboxes.get(call.principal, body.vmId)
    return JSONResponse(document(await mapped(call, sandbox, call.path("domain"), body.vmPort)))


async def delete_domain_mapping(call: Call) -> Response:
    try:
        await call.services.previews.links.unmap_domain(call.principal, call.path("domain"))
    except MappingNotFound as error:
        raise FreestyleError(403, "NO_DOMAIN_OWNERSHIP", error.message) from error
    return JSONResponse({"domain": call.path("domain")})


async def list_domain_mappings(call: Call) -> Response:
    """The team's, by name; ``domain`` asks for one, ``limit`` and ``offset`` for a part."""
    found = await call.services.previews.links.mappings(call.principal)
    if domain := call.request.query_params.get("domain"):
        found = [mapping for mapping in found if mapping.domain == domain]
    offset, limit = call.number("offset") or 0, call.number("limit")
    page = found[offset : offset + (PAGE if limit is None else limit)]
    return JSONResponse([document(mapping) for mapping in page])


async def list_domains(call: Call) -> Response:
    """Those that lead to VMs of the team: whoever maps a domain first has it."""
    found = await call.services.previews.links.mappings(call.principal)
    offset, limit = call.number("offset") or 0, call.number("limit")
    page = found[offset : None if limit is None else offset + limit]
    return JSONResponse([ownership(mapping) for mapping in page])


def ownership(mapping: DomainMapping) -> dict[str, Any]:
    return {
        "id": derived_id("dom-", mapping.domain),
        "domain": mapping.domain,
        "accountId": mapping.team_id,
        "createdAt": mapping.created_at.isoformat(),
        "verifiedDns": False,
        "implicitlyOwned": True,
        "deployToDomain": True,
        "deployToSubdomains": False,
        "manageDns": False,
    }


async def list_verifications(call: Call) -> Response:
    call.services.access.require(call.principal, Scope.SANDBOXES_READ)
    return JSONResponse([])


async def create_verification(call: Call) -> Response:
    raise FreestyleError(400, "FAILED_TO_CREATE_VERIFICATION_CODE", UNVERIFIED)


async def complete_verification(call: Call) -> Response:
    raise FreestyleError(404, "VERIFICATION_NOT_FOUND", UNVERIFIED)


async def cancel_verification(call: Call) -> Response:
    raise FreestyleError(400, "FAILED_TO_DELETE_VERIFICATION", UNVERIFIED)


async def create_wildcard_certificate(call: Call) -> Response:
    message = "Certificates are the operator's, who has them on the proxy before this server"
    raise FreestyleError(422, "FAILED_TO_PROVISION_CERTIFICATE", message)


def document(mapping: DomainMapping) -> dict[str, Any]:
    """``vmPort`` is the port inside."""
    return {
        "id": derived_id("map-", mapping.domain),
        "domain": mapping.domain,
        "vmId": mapping.sandbox_id,
        "vmPort": mapping.port,
        "ownershipId": mapping.team_id,
        "createdAt": mapping.created_at.isoformat(),
    }


HANDLERS: Mapping[str, Handler] = {
    "create_domain_mapping": create_domain_mapping,
    "delete_domain_mapping": delete_domain_mapping,
    "list_domain_mappings": list_domain_mappings,
    "list_domains": list_domains,
    "list_verifications": list_verifications,
    "create_verification": create_verification,
    "complete_verification": complete_verification,
    "cancel_verification": cancel_verification,
    "create_wildcard_certificate": create_wildcard_certificate,
}
