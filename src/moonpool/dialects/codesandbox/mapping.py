"""Moonpool's words and CodeSandbox's, both ways, as tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from moonpool import errors
from moonpool.access.model import Scope
from moonpool.dialects.codesandbox.schemas import Scope as WireScope
from moonpool.dialects.codesandbox.schemas import Tier
from moonpool.errors import MoonpoolError
from moonpool.sandboxes.query import SandboxSort

DIALECT = "codesandbox"  # the name of this dialect's own fields in a sandbox
API_VERSION = "2023-07-01"
AGENT_VERSION = "1.0.0"  # of the agent protocol's server; the SDK compares it with itself and nothing else
DEFAULT_TEMPLATE = "pcz35m"  # the SDK's own constant
USER = "root"
HOME = "/root"
WORKSPACE = "/project/workspace"
DEFAULT_HIBERNATION = 300.0  # seconds without use

MEBIBYTES_PER_GIBIBYTE = 1024


class Bootup(StrEnum):
    """How a start found the sandbox."""

    RUNNING = "RUNNING"
    CLEAN = "CLEAN"
    RESUME = "RESUME"
    FORK = "FORK"


# -- sizes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    cpu: int  # cores
    memory_gib: int
    disk_gib: int

    @property
    def memory_mib(self) -> int:
        return self.memory_gib * MEBIBYTES_PER_GIBIBYTE

    @property
    def disk_mib(self) -> int:
        return self.disk_gib * MEBIBYTES_PER_GIBIBYTE


SIZES: Mapping[Tier, Size] = {
    Tier.Pico: Size(1, 2, 20),
    Tier.Nano: Size(2, 4, 20),
    Tier.Micro: Size(4, 8, 20),
    Tier.Small: Size(8, 16, 30),
    Tier.Medium: Size(16, 32, 40),
    Tier.Large: Size(32, 64, 50),
    Tier.XLarge: Size(64, 128, 50),
}

# -- orders ------------------------------------------------------------------------------------------------------------

SORTS: Mapping[str, SandboxSort] = {
    "inserted_at": SandboxSort.CREATED_AT,
    "updated_at": SandboxSort.UPDATED_AT,
}

# -- permissions -------------------------------------------------------------------------------------------------------

READ_SCOPES = frozenset({Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ})
SCOPES: Mapping[WireScope, frozenset[Scope]] = {
    WireScope.sandbox_create: READ_SCOPES | {Scope.SANDBOXES_WRITE},
    WireScope.sandbox_edit_code: READ_SCOPES | {Scope.SANDBOXES_WRITE},
    WireScope.sandbox_read: READ_SCOPES,
    WireScope.vm_manage: READ_SCOPES
    | {Scope.SANDBOXES_WRITE, Scope.SANDBOXES_DELETE, Scope.SNAPSHOTS_WRITE, Scope.SNAPSHOTS_DELETE},
}


def wire_scopes(scopes: frozenset[Scope]) -> list[str]:
    """The vendor's names of what these scopes allow. Ours are coarser: what may create may edit as well."""
    return [wire.value for wire, needed in SCOPES.items() if Scope.ADMIN in scopes or needed <= scopes]


# -- errors ------------------------------------------------------------------------------------------------------------

# The SDK shows the text of every status but 403, 404, 502 and 503, for which it has words of its own. So an error whose
# text matters never gets one of these.
STATUSES: Mapping[type[MoonpoolError], int] = {
    MoonpoolError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.LimitExceeded: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotSupported: HTTPStatus.NOT_IMPLEMENTED,
    errors.NoCapacity: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.EngineError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.CheckpointRefused: HTTPStatus.CONFLICT,
    errors.SandboxEnded: HTTPStatus.CONFLICT,
    errors.AgentTimeout: HTTPStatus.GATEWAY_TIMEOUT,
    errors.GuestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DiskFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.ProcessLimitReached: HTTPStatus.CONFLICT,
}


COUNTED = frozenset({"sandboxes", "running", "total_cpu", "total_memory"})


def status_of(error: MoonpoolError) -> int:
    """Having or running as many sandboxes as allowed is a matter of rate to CodeSandbox: its SDK has an exception for
    that."""
    if isinstance(error, errors.LimitExceeded) and error.details.get("field") in COUNTED:
        return HTTPStatus.TOO_MANY_REQUESTS
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def sentence(error: MoonpoolError) -> str:
    """Message and hint in one, since the SDK shows users nothing else."""
    return f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message
