"""The domain's errors in the protocol's words."""

import errno
from collections.abc import Mapping

from moonpool import errors
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.errors import MoonpoolError

ERRNO: Mapping[type[MoonpoolError], int] = {
    errors.FileNotFound: errno.ENOENT,
    errors.FileExists: errno.EEXIST,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.DirectoryNotEmpty: errno.ENOTEMPTY,
    errors.AccessDenied: errno.EACCES,
    errors.DiskFull: errno.ENOSPC,
    errors.TooLarge: errno.EFBIG,
}
CODES: Mapping[type[MoonpoolError], Code] = {
    errors.InvalidPath: Code.INVALID_PATH,
    errors.Forbidden: Code.NO_ACCESS,
    errors.Unauthorized: Code.NO_ACCESS,
    errors.RateLimited: Code.RATE_LIMIT,
    errors.LimitExceeded: Code.RATE_LIMIT,
    errors.NotSupported: Code.FEATURE_UNAVAILABLE,
    errors.ProcessEnded: Code.SHELL_CLOSED,
    errors.ProcessNotFound: Code.SHELL_NOT_FOUND,
}


def failure_of(error: MoonpoolError | Failure) -> Failure:
    if isinstance(error, Failure):
        return error
    for kind in type(error).__mro__:
        if kind in ERRNO:
            return file_failure(ERRNO[kind], error.message)
        if kind in CODES:
            return Failure(CODES[kind], error.message)
    if isinstance(error, errors.FileOperationFailed):
        return Failure(Code.RAWFS_ERROR, error.message, {"errno": None})
    return Failure(Code.CRITICAL_ERROR, error.message)


def file_failure(number: int, message: str) -> Failure:
    """``number`` as in errno.h; its name comes first, since programs look for it in the message, as in Node's own."""
    return Failure(Code.RAWFS_ERROR, f"{errno.errorcode[number]}: {message}", {"errno": number})
