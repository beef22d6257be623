"""What the server is at, as the vendor's API describes the jobs of a runner. They are carried out by the server itself:
none is handed out, and nobody reports on one."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import schemas
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.fleet.model import Job, JobKind, JobState

TYPES: Mapping[JobKind, str] = {
    JobKind.CREATE: schemas.JobType.CREATE_SANDBOX,
    JobKind.START: schemas.JobType.START_SANDBOX,
    JobKind.RESUME: schemas.JobType.START_SANDBOX,
    JobKind.PAUSE: "PAUSE_SANDBOX",
    JobKind.STOP: schemas.JobType.STOP_SANDBOX,
    JobKind.ARCHIVE: schemas.JobType.CREATE_BACKUP,
    JobKind.RESTORE: schemas.JobType.RECOVER_SANDBOX,
    JobKind.DESTROY: schemas.JobType.DESTROY_SANDBOX,
    JobKind.BACK_UP: schemas.JobType.CREATE_BACKUP,
    JobKind.BUILD: schemas.JobType.BUILD_SNAPSHOT,
}
STATUSES: Mapping[JobState, schemas.JobStatus] = {
    JobState.PENDING: schemas.JobStatus.PENDING,
    JobState.RUNNING: schemas.JobStatus.IN_PROGRESS,
    JobState.SUCCEEDED: schemas.JobStatus.COMPLETED,
    JobState.FAILED: schemas.JobStatus.FAILED,
}
RESOURCES: Mapping[JobKind, schemas.ResourceType] = {
    JobKind.BUILD: schemas.ResourceType.SNAPSHOT,
    JobKind.ARCHIVE: schemas.ResourceType.BACKUP,
    JobKind.BACK_UP: schemas.ResourceType.BACKUP,
}
MOST = 500  # on a page

router = APIRouter()


def job_json(job: Job) -> dict[str, Any]:
    answer = {
        "id": job.id,
        "type": TYPES[job.kind],
        "status": STATUSES[job.state],
        "resourceType": RESOURCES.get(job.kind, schemas.ResourceType.SANDBOX),
        "resourceId": job.subject,
        "createdAt": timestamp(job.created_at),
        "updatedAt": timestamp(job.updated_at),
    }
    return {**answer, "errorMessage": job.reason} if job.reason else answer


@router.get("/api/jobs")
async def list_jobs(
    call: Authenticated,
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    offset: Annotated[int | None, Query(ge=0)] = None,
    status: schemas.JobStatus | None = None,
) -> Response:
    """``offset`` counts jobs and takes the place of ``page``."""
    found = await call.services.jobs.list(call.principal)
    chosen = [job for job in found if status in (None, STATUSES[job.state])]
    first = (page - 1) * limit if offset is None else offset
    items = [job_json(job) for job in chosen[first : first + limit]]
    pages = math.ceil(len(chosen) / limit)
    return JSONResponse({"items": items, "total": len(chosen), "page": first // limit + 1, "totalPages": pages})


@router.get("/api/jobs/{job}")
async def get_job(call: Authenticated, job: str) -> Response:
    return JSONResponse(job_json(await call.services.jobs.get(call.principal, job)))
