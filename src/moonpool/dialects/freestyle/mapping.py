"""The core's words and Freestyle's, both ways, as tables."""

import hashlib
import string
from collections.abc import Mapping
from typing import Any

from moonpool import errors
from moonpool.dialects.freestyle.schemas import VMState
from moonpool.errors import MoonpoolError
from moonpool.ids import random_word
from moonpool.processes.errors import TerminalExists, TerminalNotFound
from moonpool.sandboxes.model import Sandbox, SandboxState

DATA = "freestyle"  # this dialect's key in the data of sandboxes and snapshots
DEFAULT_SNAPSHOT = "freestyle-default"
USER = "root"
DEFAULT_FOLDER = "/root"
IDLE_TIMEOUT = 300  # seconds, where a create says nothing
READY_TIMEOUT = 120  # seconds, likewise
PRIORITY = 5  # of 0 to 10
GIBIBYTE = 1024  # MiB

S = SandboxState

# Freestyle knows no way between running and stopped, and no state for what is being deleted.
STATES: Mapping[SandboxState, VMState] = {
    S.STARTING: VMState.starting,
    S.RUNNING: VMState.running,
    S.PAUSING: VMState.suspending,
    S.PAUSED: VMState.suspended,
    S.RESUMING: VMState.starting,
    S.STOPPING: VMState.stopped,
    S.STOPPED: VMState.stopped,
    S.ARCHIVING: VMState.stopped,
    S.ARCHIVED: VMState.stopped,
    S.RESTORING: VMState.starting,
    S.DESTROYING: VMState.stopped,
    S.DESTROYED: VMState.stopped,
    S.ERROR: VMState.lost,
}

# The nearest class of an error counts. Freestyle's SDK 0.1.63 repeats a create for ever when it does not know the code
# that it is answered with, so every code of this dialect is one that it knows.
ERRORS: Mapping[type[MoonpoolError], tuple[int, str]] = {
    MoonpoolError: (500, "INTERNAL_ERROR"),
    errors.Unauthorized: (401, "UNAUTHORIZED"),
    errors.Forbidden: (403, "FORBIDDEN"),
    errors.InvalidInput: (400, "BAD_REQUEST"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.SandboxNotFound: (404, "VM_NOT_FOUND"),
    errors.SnapshotNotFound: (404, "SNAPSHOT_NOT_FOUND"),
    errors.SnapshotNotReady: (409, "CONFLICT"),
    errors.Conflict: (409, "CONFLICT"),
    errors.InvalidState: (400, "VM_NOT_RUNNING"),
    errors.TransitionInProgress: (409, "CONFLICT"),
    errors.LimitExceeded: (403, "VM_LIMIT_EXCEEDED"),
    errors.RateLimited: (403, "LIMIT_EXCEEDED"),
    errors.TooLarge: (400, "BAD_REQUEST"),
    errors.NotSupported: (400, "BAD_REQUEST"),
    errors.NoCapacity: (503, "NO_LOCAL_STORAGE_CAPACITY"),
    errors.SandboxEnded: (400, "VM_NOT_RUNNING"),
    errors.GuestError: (500, "INTERNAL_ERROR"),
    errors.InvalidPath: (400, "FILES_BAD_REQUEST"),
    errors.FileNotFound: (404, "FILE_NOT_FOUND"),
    errors.FileExists: (400, "FILES_BAD_REQUEST"),
    errors.NotADirectory: (400, "FILES_BAD_REQUEST"),
    errors.IsADirectory: (400, "FILES_BAD_REQUEST"),
    errors.AccessDenied: (400, "FILES_BAD_REQUEST"),
    errors.DiskFull: (400, "FILES_BAD_REQUEST"),
    errors.FileOperationFailed: (400, "FILES_BAD_REQUEST"),
    errors.WorkingDirectoryNotFound: (400, "BAD_REQUEST"),
    errors.CommandNotFound: (400, "BAD_REQUEST"),
    errors.UserNotFound: (404, "USER_NOT_FOUND"),
    errors.UnitNotFound: (404, "SERVICE_NOT_FOUND"),
    errors.UnitExists: (409, "SERVICE_ALREADY_EXISTS"),
    errors.InvalidUnit: (400, "VALIDATION_ERROR"),
    errors.IdentityNotFound: (404, "IDENTITY_NOT_FOUND"),
    errors.PermissionNotFound: (404, "VM_PERMISSION_NOT_FOUND"),
    errors.PermissionExists: (409, "PERMISSION_ALREADY_EXISTS"),
    TerminalNotFound: (404, "SESSION_NOT_FOUND"),
    TerminalExists: (409, "SESSION_ALREADY_EXISTS"),
}

# What a bad request is called where the operation has a code of its own.
BAD_REQUESTS: Mapping[str, str] = {
    "create_vm": "CREATE_VM_BAD_REQUEST",
    "create_snapshot": "CREATE_SNAPSHOT_BAD_REQUEST",
    "snapshot_vm": "SNAPSHOT_VM_BAD_REQUEST",
    "resize_vm": "INVALID_PARAMETERS",
    "get_file": "FILES_BAD_REQUEST",
    "put_file": "FILES_BAD_REQUEST",
}
LIMITS: Mapping[str, str] = {
    "sandboxes": "TOTAL_VM_LIMIT_EXCEEDED",
    "snapshots": "SNAPSHOT_LIMIT_EXCEEDED",
    "total_disk": "ROOTFS_STORAGE_QUOTA_EXCEEDED",
    "cpu": "VCPU_OVER_PLAN_LIMIT",
    "memory": "MEM_OVER_PLAN_LIMIT",
    "disk": "ROOTFS_OVER_PLAN_LIMIT",
}


class FreestyleError(MoonpoolError):
    """An error that only this API has; ``fields`` go into the answer beside code and message."""

    def __init__(self, status: int, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.fields = status, code, fields


def timed_out(seconds: float | None, stdout: bytes = b"", stderr: bytes = b"") -> FreestyleError:
    """With what it has printed until then."""
    milliseconds = round((seconds or 0) * 1000)
    said = {"stdout": stdout.decode(errors="replace"), "stderr": stderr.decode(errors="replace")}
    message = f"Command timed out after {milliseconds}ms"
    return FreestyleError(408, "EXEC_TIMED_OUT", message, timeout_ms=milliseconds, **said)


def status_and_code(error: MoonpoolError, operation: str = "") -> tuple[int, str]:
    if isinstance(error, FreestyleError):
        return error.status, error.code
    status, code = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    if code == "BAD_REQUEST":
        code = BAD_REQUESTS.get(operation, code)
    if isinstance(error, errors.LimitExceeded):
        code = LIMITS.get(str(error.details.get("field")), code)
    return status, code


def sentence(error: MoonpoolError) -> str:
    """Message and hint in one, since the SDKs show users nothing else."""
    return f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message


def state_of(sandbox: Sandbox) -> VMState:
    if sandbox.state is S.RUNNING and (data_of(sandbox).get("building") or data_of(sandbox).get("setting_up")):
        return VMState.building
    if sandbox.state is S.ERROR and sandbox.recoverable:
        return VMState.stopped  # Its disk is good: a start runs it.
    return STATES[sandbox.state]


def data_of(sandbox: Sandbox) -> Mapping[str, Any]:
    """What this dialect keeps of a sandbox; empty for one that another made."""
    data: Mapping[str, Any] = sandbox.dialect_data.get(DATA, {})
    return data


def name_of(sandbox: Sandbox) -> str | None:
    """Freestyle's names are labels, and two VMs may have the same: ours is in the data where it was taken."""
    return sandbox.name if sandbox.name != sandbox.id else data_of(sandbox).get("name")


# -- ids ---------------------------------------------------------------------------------------------------------------

ALPHABET = string.digits + string.ascii_lowercase
ID_LENGTH = 20  # characters after the prefix


def new_id(prefix: str) -> str:
    """``sc-`` (snapshot), ``bld-`` (build), ``bph-`` (its phase) or ``ri-`` (request) and 20 characters [a-z0-9]."""
    return prefix + random_word(ID_LENGTH)


def derived_id(prefix: str, text: str, length: int = ID_LENGTH) -> str:
    """The same id for the same text, always."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    word = ""
    while len(word) < length:
        number, digit = divmod(number, len(ALPHABET))
        word += ALPHABET[digit]
    return prefix + word
