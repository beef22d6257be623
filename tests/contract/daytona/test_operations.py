"""Every operation of the contract is answered on purpose: by a route, or by the table of what is missing."""

import json
from pathlib import Path

import httpx
from fastapi.routing import APIRoute

from moonpool.dialects.daytona import (
    audit,
    builds,
    collectors,
    copies,
    jobs,
    keys,
    members,
    organizations,
    pools,
    previews,
    registries,
    runners,
    sandboxes,
    secrets,
    server,
    settings,
    snapshots,
    ssh,
    storage,
    telemetry,
    usage,
    volumes,
    webhooks,
)
from moonpool.dialects.daytona.operations import GONE, UNSUPPORTED

CONTRACTS = Path(__file__).parents[1]


def shape(path: str) -> str:
    """A path with its parameters' names taken out: they differ between generations."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def contract_operations() -> set[tuple[str, str]]:
    listed = json.loads((CONTRACTS / "daytona-endpoints.json").read_text())["api"]
    document = json.loads((CONTRACTS / "daytona.contract.json").read_text())["paths"]
    found = {(operation["method"], shape(operation["path"])) for operation in listed}
    return found | {(method.upper(), shape(path)) for path, methods in document.items() for method in methods}


PARTS = (
    audit,
    builds,
    collectors,
    copies,
    jobs,
    keys,
    members,
    organizations,
    pools,
    previews,
    registries,
    runners,
    secrets,
    sandboxes,
    server,
    settings,
)


ENDPOINTS = "/webhooks/organizations/{}/endpoints"
ENDPOINT = f"{ENDPOINTS}/{{}}"
# Beside the vendor's: there endpoints are managed in a portal.
OURS = {
    ("GET", ENDPOINTS),
    ("POST", ENDPOINTS),
    ("GET", ENDPOINT),
    ("PATCH", ENDPOINT),
    ("DELETE", ENDPOINT),
    ("POST", f"{ENDPOINT}/rotate-secret"),
    ("POST", f"{ENDPOINT}/test"),
    ("POST", f"{ENDPOINT}/recover"),
    ("GET", f"{ENDPOINT}/deliveries"),
    ("GET", f"{ENDPOINT}/deliveries/{{}}"),
    ("POST", f"{ENDPOINT}/deliveries/{{}}/replay"),
}


def refused() -> list[tuple[str, str, str]]:
    entries = [operation.split() for operations in UNSUPPORTED.values() for operation in operations]
    return [(method, path, name) for method, path, name in entries]


def offered() -> set[tuple[str, str]]:
    routers = [part.router for part in (*PARTS, snapshots, ssh, storage, telemetry, usage, volumes, webhooks)]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {(method, shape(route.path.removeprefix("/api"))) for route in routes for method in route.methods} - OURS


def test_each_operation_is_either_offered_or_refused() -> None:
    missing = {(method, shape(path)) for method, path, _ in refused()}
    assert len(missing) == len(refused())
    assert not offered() & missing
    old_list = {("GET", "/sandbox/paginated")}
    assert (offered() | missing) == contract_operations() | old_list


async def test_refused_operations_say_so(client: httpx.AsyncClient) -> None:
    for method, path, name in refused():
        url = "/api" + path.replace("{port}", "3000").replace("{", "").replace("}", "")
        answer = await client.request(method, url)
        expected = httpx.codes.GONE if name in GONE else httpx.codes.NOT_IMPLEMENTED
        assert answer.status_code == expected, url
        body = answer.json()
        assert (body["statusCode"], body["path"]) == (expected, url)
        assert f"'{name}'" in body["message"]
        assert (await client.request(method, url, headers={"Authorization": ""})).status_code == 401
