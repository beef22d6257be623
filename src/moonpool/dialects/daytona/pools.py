"""Warm pools: machines kept ready for creates."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.extensions import CreateWarmPool, UpdateWarmPool
from moonpool.dialects.daytona.mapping import DEFAULT_USER, MEBIBYTES_PER_GIBIBYTE
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.errors import InvalidInput
from moonpool.fleet.model import Pool

GONE = "Its snapshot is gone; sandboxes cannot be made from it"

router = APIRouter()


def pool_json(pool: Pool, call: Call) -> dict[str, Any]:
    record, snapshot = pool.record, pool.snapshot
    resources = snapshot and snapshot.resources
    answer = {
        "id": record.id,
        "organizationId": record.team_id,
        "snapshot": record.snapshot_name if snapshot is None else snapshot.name,
        "target": call.view.region,
        "pool": record.size,
        "currentSize": pool.ready,
        "cpu": resources.cpu if resources else 0,
        "mem": resources.memory_mib / MEBIBYTES_PER_GIBIBYTE if resources else 0,
        "disk": resources.disk_mib / MEBIBYTES_PER_GIBIBYTE if resources else 0,
        "osUser": snapshot.user if snapshot and snapshot.user else DEFAULT_USER,
        "env": {},
        "createdAt": timestamp(record.created_at),
        "updatedAt": timestamp(record.updated_at),
    }
    return answer if snapshot else {**answer, "errorReason": GONE}


@router.get("/api/warm-pools")
async def list_warm_pools(call: Authenticated) -> Response:
    return JSONResponse([pool_json(pool, call) for pool in await call.services.pools.list(call.principal)])


@router.post("/api/warm-pools", status_code=201)
async def create_warm_pool(request: Request, call: Authenticated) -> Response:
    body = await parse(request, CreateWarmPool)
    if body.target not in (None, "", call.view.region):
        raise InvalidInput(f"target: there is no region {body.target}", field="target")
    made = await call.services.pools.create(call.principal, body.snapshot, body.pool)
    return JSONResponse(pool_json(made, call), status_code=201)


@router.patch("/api/warm-pools/{pool}")
async def update_warm_pool(request: Request, call: Authenticated, pool: str) -> Response:
    body = await parse(request, UpdateWarmPool)
    return JSONResponse(pool_json(await call.services.pools.resize(call.principal, pool, body.pool), call))


@router.delete("/api/warm-pools/{pool}", status_code=204)
async def delete_warm_pool(call: Authenticated, pool: str) -> Response:
    await call.services.pools.delete(call.principal, pool)
    return Response(status_code=204)
