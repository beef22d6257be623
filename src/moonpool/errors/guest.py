"""Inside a sandbox."""

from moonpool.errors.base import MoonpoolError


class GuestError(MoonpoolError):
    """Something a program or file inside the sandbox answered."""


class InvalidPath(GuestError):
    code = "invalid_path"
    default = "Invalid path"


class FileNotFound(GuestError):
    code = "file_not_found"
    default = "No such file or directory"


class FileExists(GuestError):
    code = "file_exists"
    default = "The file exists already"


class NotADirectory(GuestError):
    code = "not_a_directory"
    default = "Not a directory"


class IsADirectory(GuestError):
    code = "is_a_directory"
    default = "Is a directory"


class DirectoryNotEmpty(GuestError):
    code = "directory_not_empty"
    default = "The directory is not empty"


class AccessDenied(GuestError):
    code = "access_denied"
    default = "Permission denied"


class DiskFull(GuestError):
    code = "disk_full"
    default = "No space left in the sandbox"
    default_hint = "Remove files, or give the sandbox a larger disk."


class FileOperationFailed(GuestError):
    code = "file_operation_failed"
    default = "The file operation failed"


class ProcessNotFound(GuestError):
    code = "process_not_found"
    default = "No such process"


class CommandNotFound(GuestError):
    code = "command_not_found"
    default = "No such command"


class WorkingDirectoryNotFound(GuestError):
    code = "working_directory_not_found"
    default = "The working directory does not exist"


class UserNotFound(GuestError):
    code = "user_not_found"
    default = "No such user in the sandbox"


class ProcessLimitReached(GuestError):
    code = "process_limit_reached"
    default = "The sandbox cannot start another process"
    default_hint = "Its process limit or its memory is used up; end processes, or give it more."


class ProcessEnded(GuestError):
    code = "process_ended"
    default = "The process has ended"


class UnitNotFound(GuestError):
    code = "unit_not_found"
    default = "No such unit"


class UnitExists(GuestError):
    code = "unit_exists"
    default = "A unit of this name exists already"


class PortClosed(GuestError):
    code = "port_closed"
    default = "Nothing listens on this port in the sandbox"
