"""What the agent answers when something cannot be done: a code that the client knows, and a sentence."""

import errno
from typing import Any

CODES = {
    errno.ENOENT: "file_not_found",
    errno.EEXIST: "file_exists",
    errno.ENOTDIR: "not_a_directory",
    errno.EISDIR: "is_a_directory",
    errno.ENOTEMPTY: "directory_not_empty",
    errno.EACCES: "access_denied",
    errno.EPERM: "access_denied",
    errno.EROFS: "access_denied",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.ENAMETOOLONG: "invalid_path",
    errno.ELOOP: "invalid_path",
    errno.EINVAL: "invalid_path",
    errno.EAGAIN: "process_limit_reached",
    errno.ENOMEM: "process_limit_reached",
    errno.EMFILE: "process_limit_reached",
    errno.ENFILE: "process_limit_reached",
}


class AgentError(Exception):
    """An answer in place of a result."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message


def describe(error: BaseException) -> dict[str, Any]:
    """The document of an ERROR frame."""
    if isinstance(error, AgentError):
        return {"code": error.code, "message": error.message}
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        path = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        code = CODES.get(error.errno or 0, "file_operation_failed")
        return {"code": code, "message": f"{text}: {path}" if path else text}
    if isinstance(error, ValueError | TypeError | LookupError | OverflowError):
        return {"code": "invalid_input", "message": f"{type(error).__name__}: {error}"}
    return {"code": "guest_error", "message": f"the agent failed: {type(error).__name__}: {error}"}
