"""What the host is at for a team, and what builds it has done: told from rows that are kept anyway."""

from collections.abc import Mapping

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.archives.model import BackupState
from moonpool.builds.model import Build, BuildState
from moonpool.builds.service import BuildService
from moonpool.errors import NotFound
from moonpool.fleet.model import Job, JobKind, JobState
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records

KINDS: Mapping[SandboxState, JobKind] = {
    SandboxState.STARTING: JobKind.START,
    SandboxState.RESUMING: JobKind.RESUME,
    SandboxState.PAUSING: JobKind.PAUSE,
    SandboxState.STOPPING: JobKind.STOP,
    SandboxState.ARCHIVING: JobKind.ARCHIVE,
    SandboxState.RESTORING: JobKind.RESTORE,
    SandboxState.DESTROYING: JobKind.DESTROY,
}
STATES: Mapping[BuildState, JobState] = {
    BuildState.QUEUED: JobState.PENDING,
    BuildState.RUNNING: JobState.RUNNING,
    BuildState.SUCCEEDED: JobState.SUCCEEDED,
    BuildState.FAILED: JobState.FAILED,
    BuildState.CANCELLED: JobState.FAILED,
}
MOST_BUILDS = 1000  # the latest


class JobService:
    """Changes of sandboxes while they are under way, and builds as long as their rows are kept; a team's own alone."""

    def __init__(self, access: AccessService, records: Records, builds: BuildService) -> None:
        self._access, self._records, self._builds = access, records, builds

    async def list(self, principal: Principal) -> list[Job]:
        """The newest first."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        jobs = [job_of_build(build) for build in await self._builds.list(principal, MOST_BUILDS)]
        for sandbox in self._records.all():
            if sandbox.team_id == principal.team_id:
                jobs += jobs_of_sandbox(sandbox)
        return sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)

    async def get(self, principal: Principal, job_id: str) -> Job:
        """NotFound also once a change of a sandbox has come to its end."""
        for job in await self.list(principal):
            if job.id == job_id:
                return job
        raise NotFound(f"Job {job_id[:100]} not found")


def job_of_build(build: Build) -> Job:
    moment = build.finished_at or build.started_at or build.created_at
    return Job(
        build.id, JobKind.BUILD, STATES[build.state], build.snapshot_id, build.created_at, moment, reason=build.reason
    )


def jobs_of_sandbox(sandbox: Sandbox) -> list[Job]:
    """A change of state, a backup, or nothing. A sandbox has one of a kind at a time, which its id says."""
    jobs = []
    if kind := KINDS.get(sandbox.state):
        if kind is JobKind.START and sandbox.started_at is None:
            kind = JobKind.CREATE
        jobs.append(running(sandbox, kind))
    elif sandbox.backup.state is BackupState.IN_PROGRESS:
        jobs.append(running(sandbox, JobKind.BACK_UP))
    return jobs


def running(sandbox: Sandbox, kind: JobKind) -> Job:
    return Job(f"{kind}-{sandbox.id}", kind, JobState.RUNNING, sandbox.id, sandbox.updated_at, sandbox.updated_at)
