"""The toolbox's one envelope for everything that goes wrong, and the table of statuses and codes.

``{statusCode, message, code, source, path, method, timestamp}``: the SDK picks its exception by status, and a finer one
by source and code.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from moonpool import errors
from moonpool.desktop import errors as desktop_errors
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.git import errors as git_errors
from moonpool.languages import errors as language_errors
from moonpool.processes import errors as process_errors
from moonpool.processes.interpreters import ExecutionTimeout

SOURCE = "DAYTONA_DAEMON"
SERVER_ERROR = 500


class InvalidBody(errors.InvalidInput):
    """The body is not the JSON that the operation wants."""


class ExecutionTimedOut(errors.MoonpoolError):
    code = "process_execution_timeout"
    default = "command execution timeout"


class UnknownPath(errors.NotFound):
    """There is no such operation."""


class MethodNotAllowed(errors.MoonpoolError):
    code = "method_not_allowed"
    default = "Method not allowed"


# The first class of an error's own line of ancestors that stands here decides.
ERRORS: Mapping[type[errors.MoonpoolError], tuple[int, str]] = {
    errors.FileNotFound: (404, "FILE_NOT_FOUND"),
    errors.AccessDenied: (403, "FILE_ACCESS_DENIED"),
    errors.InvalidPath: (400, "INVALID_FILE_PATH"),
    errors.NotADirectory: (400, "INVALID_FILE_PATH"),
    errors.IsADirectory: (400, "INVALID_FILE_PATH"),
    errors.FileOperationFailed: (400, "FILE_READ_FAILED"),
    errors.FileExists: (409, "CONFLICT"),
    ExecutionTimedOut: (408, "PROCESS_EXECUTION_TIMEOUT"),
    ExecutionTimeout: (408, "PROCESS_EXECUTION_TIMEOUT"),
    errors.ProcessNotFound: (404, "PROCESS_NOT_FOUND"),
    process_errors.InterpreterNotFound: (404, "NOT_FOUND"),
    process_errors.SessionEnded: (410, "SESSION_ENDED"),
    process_errors.SessionCommandCompleted: (410, "COMMAND_ALREADY_COMPLETED"),
    errors.ProcessEnded: (410, "GONE"),
    desktop_errors.DesktopToolMissing: (501, "NOT_IMPLEMENTED"),
    desktop_errors.RecorderMissing: (503, "RECORDING_FFMPEG_NOT_FOUND"),
    desktop_errors.DesktopFailed: (500, "INTERNAL_SERVER_ERROR"),
    desktop_errors.DesktopProcessNotFound: (404, "NOT_FOUND"),
    desktop_errors.RecordingNotFound: (404, "NOT_FOUND"),
    desktop_errors.RecordingActive: (409, "RECORDING_STILL_ACTIVE"),
    desktop_errors.AccessibilityUnavailable: (503, "A11Y_UNAVAILABLE"),
    desktop_errors.NodeNotFound: (404, "NOT_FOUND"),
    language_errors.LanguageServerNotStarted: (400, "LSP_SERVER_NOT_INITIALIZED"),
    language_errors.LanguageServerFailed: (500, "INTERNAL_SERVER_ERROR"),
    language_errors.LanguageServerTimeout: (504, "REQUEST_TIMEOUT"),
    language_errors.TooManyClients: (429, "RATE_LIMITED"),
    language_errors.RequestNotOffered: (501, "NOT_IMPLEMENTED"),
    git_errors.AuthenticationFailed: (401, "GIT_AUTH_FAILED"),
    git_errors.RemoteForbids: (403, "FORBIDDEN"),
    git_errors.RepositoryNotFound: (404, "GIT_REPO_NOT_FOUND"),
    git_errors.RepositoryExists: (409, "CONFLICT"),
    git_errors.BranchNotFound: (404, "GIT_BRANCH_NOT_FOUND"),
    git_errors.BranchExists: (409, "GIT_BRANCH_EXISTS"),
    git_errors.RemoteExists: (409, "CONFLICT"),
    git_errors.PushRejected: (409, "GIT_PUSH_REJECTED"),
    git_errors.RemoteRejected: (422, "GIT_REMOTE_REJECTED"),
    git_errors.DirtyWorktree: (409, "GIT_DIRTY_WORKTREE"),
    git_errors.MergeConflict: (409, "GIT_MERGE_CONFLICT"),
    git_errors.NothingToCommit: (409, "CONFLICT"),
    git_errors.TransportFailed: (502, "GIT_TRANSPORT_FAILED"),
    git_errors.GitTimeout: (504, "REQUEST_TIMEOUT"),
    errors.ProcessLimitReached: (503, "INTERNAL_SERVER_ERROR"),
    errors.GuestError: (400, "BAD_REQUEST"),
    InvalidBody: (400, "INVALID_REQUEST_BODY"),
    errors.InvalidInput: (400, "BAD_REQUEST"),
    errors.LimitExceeded: (400, "BAD_REQUEST"),
    errors.TooLarge: (413, "BAD_REQUEST"),
    errors.Unauthorized: (401, "UNAUTHORIZED"),
    errors.Forbidden: (403, "FORBIDDEN"),
    errors.NotFound: (404, "NOT_FOUND"),
    MethodNotAllowed: (405, "BAD_REQUEST"),
    errors.TransitionInProgress: (409, "CONFLICT"),
    errors.InvalidState: (400, "BAD_REQUEST"),
    errors.Conflict: (409, "CONFLICT"),
    errors.RateLimited: (429, "RATE_LIMITED"),
    errors.NotSupported: (501, "NOT_IMPLEMENTED"),
    errors.AgentTimeout: (504, "REQUEST_TIMEOUT"),
    errors.AgentUnavailable: (502, "INTERNAL_SERVER_ERROR"),
    errors.NoCapacity: (503, "INTERNAL_SERVER_ERROR"),
    errors.MoonpoolError: (SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
}


# The vendor's own words, which its clients and their users compare with: by those of NOT_RUNNING they know that the
# sandbox has to be started, by those of NO_FILE that there is no such file.
NOT_RUNNING = "failed to resolve container IP: sandbox is not running, it is {state}. Is the Sandbox started?"
NO_FILE = "file not found: {reason}"
SENTENCES: Mapping[type[errors.MoonpoolError], str] = {
    process_errors.SessionNotFound: "session not found",
    process_errors.SessionEnded: "session process has exited",
    process_errors.TerminalNotFound: "PTY session not found",
}

# A client that sends too much must not be listened to until it has finished.
HEADERS: Mapping[type[errors.MoonpoolError], dict[str, str]] = {
    errors.Unauthorized: {"WWW-Authenticate": "Bearer"},
    errors.KeyExpired: {"WWW-Authenticate": "Bearer"},
    errors.TooLarge: {"Connection": "close"},
}


def status_and_code(error: errors.MoonpoolError) -> tuple[int, str]:
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def document(connection: HTTPConnection, status: int, code: str, message: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "message": message,
        "code": code,
        "source": SOURCE,
        "path": connection.url.path,
        "method": connection.scope.get("method", "GET"),
        "timestamp": timestamp(datetime.now(UTC)),
    }


def error_document(connection: HTTPConnection, error: errors.MoonpoolError) -> dict[str, Any]:
    status, code = status_and_code(error)
    return document(connection, status, code, sentence(error))


def error_response(connection: HTTPConnection, error: errors.MoonpoolError) -> JSONResponse:
    body = error_document(connection, error)
    return JSONResponse(body, body["statusCode"], HEADERS.get(type(error)))


def sentence(error: errors.MoonpoolError) -> str:
    if type(error) in SENTENCES:
        return SENTENCES[type(error)]
    if type(error) is errors.InvalidState:
        return NOT_RUNNING.format(state=error.state)
    if type(error) is errors.FileNotFound:
        return NO_FILE.format(reason=error.message[:1].lower() + error.message[1:])
    if not error.hint or isinstance(error, errors.Unauthorized):
        return error.message
    return f"{error.message.rstrip('.')}. {error.hint}"
