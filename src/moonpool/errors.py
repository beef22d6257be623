"""Every error the domain can raise: a stable code, a sentence for a human, a hint.

Each dialect maps these once, in its ``mapping.py``, to its own envelope and status. Nothing in here knows HTTP.
"""

from typing import Any


class MoonpoolError(Exception):
    """Base of all domain errors; ``code`` is stable, ``message`` is for a human, ``hint`` says what to do next."""

    code = "internal_error"
    default = "Something went wrong"
    default_hint = ""

    def __init__(self, message: str = "", *, hint: str = "", **details: Any) -> None:
        self.message = message or self.default
        self.hint = hint or self.default_hint
        self.details = details
        super().__init__(self.message)


# -- who asks ----------------------------------------------------------------------------------------------------------


class Unauthorized(MoonpoolError):
    code = "unauthorized"
    default = "Invalid credentials"
    default_hint = "Send an API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."


class KeyExpired(Unauthorized):
    code = "key_expired"
    default = "This API key has expired"
    default_hint = "Create a new key with 'moonpool keys create'."


class Forbidden(MoonpoolError):
    code = "forbidden"
    default = "This key may not do that"
    default_hint = "Use a key with the scope that the operation needs."


class WrongPassword(Unauthorized):
    """Also for an account that is none: nobody finds out which there are."""

    code = "wrong_password"
    default = "The address or the password is wrong"
    default_hint = "Look at both; a new password can be set by mail."


class SessionRequired(Unauthorized):
    code = "session_required"
    default = "Nobody is signed in"
    default_hint = "Sign in with a browser; an API key does not do for this."


class PortalClosed(Unauthorized):
    """A link to a team's webhooks, or the visit that it opened: used up, too old, or no longer its maker's to give."""

    code = "portal_closed"
    default = "This link, or the visit that it opened, has ended"
    default_hint = "Ask for a new link where you got this one."


class LoginRefused(Unauthorized):
    """By a provider, or by what it says of who came: ``reason`` is a word for it."""

    code = "login_refused"
    default = "This login is not good here"

    def __init__(self, reason: str = "access_denied") -> None:
        super().__init__()
        self.reason = reason


class CsrfRefused(Forbidden):
    code = "csrf_refused"
    default = "The request does not show that it comes from the page that was signed in"
    default_hint = "Send the value of the CSRF cookie in the CSRF header too."


class SignUpClosed(Forbidden):
    code = "sign_up_closed"
    default = "Nobody can sign up here"
    default_hint = "Ask the operator for an account."


class NotPermitted(Forbidden):
    """By the role in the team, not by the key."""

    code = "not_permitted"
    default = "Only owners and admins of the team may do that"
    default_hint = "Ask one of them."


class LastOwner(NotPermitted):
    code = "last_owner"
    default = "A team keeps at least one owner"
    default_hint = "Make somebody else an owner first, or delete the team."


# -- what is asked for -------------------------------------------------------------------------------------------------


class InvalidInput(MoonpoolError):
    """The request itself is wrong; ``field`` names the offending part where there is one."""

    code = "invalid_input"
    default = "Invalid request"

    def __init__(self, message: str = "", *, field: str = "", hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.field = field


class TokenInvalid(InvalidInput):
    """What was mailed was used already, is too old, or was never sent."""

    code = "token_invalid"
    default = "This link is not good any more"
    default_hint = "Ask for a new one."


class InvalidUnit(InvalidInput):
    """A unit's description cannot be used; ``field`` names the part."""

    code = "invalid_unit"
    default = "Invalid unit"


class NotFound(MoonpoolError):
    code = "not_found"
    default = "Not found"


class SandboxNotFound(NotFound):
    code = "sandbox_not_found"
    default = "Sandbox not found"


class TeamNotFound(NotFound):
    code = "team_not_found"
    default = "Team not found"


class AccountNotFound(NotFound):
    code = "account_not_found"
    default = "User not found"


class MemberNotFound(NotFound):
    code = "member_not_found"
    default = "This user is no member of the team"


class RoleNotFound(NotFound):
    code = "role_not_found"
    default = "Role not found"


class InvitationNotFound(NotFound):
    code = "invitation_not_found"
    default = "Invitation not found"


class SessionNotFound(NotFound):
    code = "session_not_found"
    default = "Session not found"


class ProviderNotFound(NotFound):
    code = "provider_not_found"
    default = "There is no such login provider here"


class SnapshotNotFound(NotFound):
    code = "snapshot_not_found"
    default = "Snapshot not found"


class VolumeNotFound(NotFound):
    code = "volume_not_found"
    default = "Volume not found"


class KeyNotFound(NotFound):
    code = "key_not_found"
    default = "API key not found"


class TagNotFound(NotFound):
    code = "tag_not_found"
    default = "Tag not found"


class PreviewTokenNotFound(NotFound):
    code = "preview_token_not_found"
    default = "Preview token not found"


class MappingNotFound(NotFound):
    code = "mapping_not_found"
    default = "This domain leads to no sandbox of yours"


class IdentityNotFound(NotFound):
    code = "identity_not_found"
    default = "Identity not found"


class IdentityTokenNotFound(NotFound):
    code = "identity_token_not_found"
    default = "This identity has no such token"


class PermissionNotFound(NotFound):
    code = "permission_not_found"
    default = "This identity has no permission for that sandbox"


class SecretNotFound(NotFound):
    code = "secret_not_found"
    default = "Secret not found"


class ReceiverNotFound(NotFound):
    code = "receiver_not_found"
    default = "Receiver not found"


class DeliveryNotFound(NotFound):
    code = "delivery_not_found"
    default = "Delivery not found"


class SshAccessNotFound(NotFound):
    code = "ssh_access_not_found"
    default = "No such SSH access"


class Conflict(MoonpoolError):
    code = "conflict"
    default = "Conflict"


class PermissionExists(Conflict):
    code = "permission_exists"
    default = "This identity has a permission for that sandbox already"


class DomainTaken(Conflict):
    code = "domain_taken"
    default = "This domain leads to another sandbox"


class AlreadyMember(Conflict):
    code = "already_member"
    default = "This user is a member already"


class OwnsTeams(Conflict):
    code = "owns_teams"
    default = "You are the only owner of a team that has other members"
    default_hint = "Make somebody else an owner of it, or delete it."


class LastAdministrator(Conflict):
    code = "last_administrator"
    default = "The server keeps at least one administrator who can sign in"


class InvitationOver(Conflict):
    """It has expired, or was answered or cancelled."""

    code = "invitation_over"
    default = "This invitation is not good any more"
    default_hint = "Ask for a new one."


class NameTaken(Conflict):
    code = "name_taken"
    default = "This name is already in use"


class VolumeInUse(Conflict):
    """Also what the agent answers where a program has something open on a volume."""

    code = "volume_in_use"
    default = "The volume is in use"


class InvalidState(Conflict):
    """The sandbox is not in a state in which this can be done; ``state`` is the one it is in."""

    code = "invalid_state"
    default = "The sandbox is not in a state in which this can be done"

    def __init__(self, message: str = "", *, state: str = "", hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.state = state


class TransitionInProgress(InvalidState):
    code = "transition_in_progress"
    default = "Sandbox state change in progress"
    default_hint = "Wait until it has finished, then try again."


class SnapshotNotReady(InvalidState):
    """Nothing can start from this snapshot now; ``state`` is the one it is in."""

    code = "snapshot_not_ready"
    default = "Nothing can start from this snapshot now"


class LimitExceeded(MoonpoolError):
    code = "limit_exceeded"
    default = "A limit is exceeded"


class RateLimited(MoonpoolError):
    code = "rate_limited"
    default = "Too many requests"


class TooLarge(MoonpoolError):
    code = "too_large"
    default = "The request is too large"


class NotSupported(MoonpoolError):
    """An operation of the contract that this server does not offer."""

    code = "not_supported"
    default = "This server does not support that"


class ProviderFailed(MoonpoolError):
    code = "provider_failed"
    default = "The login provider does not answer as it should"
    default_hint = "Try again later; the operator finds the provider among the MOONPOOL_OAUTH_ settings."


class MailFailed(MoonpoolError):
    code = "mail_failed"
    default = "The mail could not be sent"
    default_hint = "Try again later; the operator finds the reason in the server's log."


# -- images ------------------------------------------------------------------------------------------------------------


class ImageError(MoonpoolError):
    """An image of somebody else's cannot be used, for a reason that lies with it or with who asks."""

    code = "image_error"
    default = "The image cannot be used"


class ImageNotFound(ImageError):
    code = "image_not_found"
    default = "There is no such image"
    default_hint = "Look at its name and its tag; a private image needs credentials."


class ImageUnauthorized(ImageError):
    code = "image_unauthorized"
    default = "The registry does not let us have this image"
    default_hint = "Give a user name and a password (or token) for this registry."


class ImageForbidden(ImageError):
    code = "image_forbidden"
    default = "Images may not be fetched from there"


class ImageInvalid(ImageError):
    code = "image_invalid"
    default = "The image is damaged, or holds what no image may"


class ImageTooLarge(ImageError):
    code = "image_too_large"
    default = "The image is larger than allowed"
    default_hint = "Use a smaller image, or raise MOONPOOL_IMAGE_MAX_BYTES."


class ImageUnavailable(ImageError):
    code = "image_unavailable"
    default = "The registry cannot be reached"
    default_hint = "Try again; the server must be able to reach the registry."


class ImageTimeout(ImageUnavailable):
    code = "image_timeout"
    default = "Fetching the image took too long"


# -- builds ------------------------------------------------------------------------------------------------------------


class BuildNotFound(NotFound):
    code = "build_not_found"
    default = "Build not found"


class RegistryNotFound(NotFound):
    code = "registry_not_found"
    default = "Registry not found"


class BuildError(MoonpoolError):
    """A build cannot go on, for a reason that lies with its recipe; ``line`` of the Dockerfile where there is one."""

    code = "build_failed"
    default = "The build failed"

    def __init__(self, message: str = "", *, line: int | None = None, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.line = line


class BuildInvalid(BuildError):
    code = "build_invalid"
    default = "The recipe is wrong"


class BuildCancelled(BuildError):
    code = "build_cancelled"
    default = "The build was cancelled"


# -- inside a sandbox --------------------------------------------------------------------------------------------------


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


# -- the machine -------------------------------------------------------------------------------------------------------


class EngineError(MoonpoolError):
    """The engine could not do what it was asked; the sandbox's files are kept."""

    code = "engine_error"
    default = "The sandbox engine failed"
    default_hint = "Run 'moonpool doctor' on the server."


class MachineUnfit(EngineError):
    """The machine lacks something the engine needs; ``hint`` says what to install or enable."""

    code = "machine_unfit"
    default = "This machine lacks something the engine needs"


class CheckpointRefused(EngineError):
    """Memory cannot be kept now; the sandbox itself goes on unharmed."""

    code = "checkpoint_refused"
    default = "The sandbox's memory cannot be saved now"


class MemoryDoesNotFit(CheckpointRefused):
    """The server's disk has no room for it."""


class CheckpointIncompatible(EngineError):
    code = "checkpoint_incompatible"
    default = "This checkpoint was made by another runsc, with other flags or on another kind of processor"
    default_hint = "Start the sandbox from its disk, or bring back the runsc that made the checkpoint."


class CheckpointCorrupt(EngineError):
    code = "checkpoint_corrupt"
    default = "The checkpoint is damaged"
    default_hint = "Start the sandbox from its disk."


class AgentUnavailable(EngineError):
    code = "agent_unavailable"
    default = "The agent in the sandbox does not answer"


class SandboxEnded(AgentUnavailable):
    """The sandbox was stopped, saved or died while something was done in it, which may have been done or not."""

    code = "sandbox_ended"
    default = "The sandbox was stopped or paused meanwhile"
    default_hint = "Start it again: its files are kept."


class AgentTimeout(EngineError):
    code = "agent_timeout"
    default = "The agent in the sandbox did not answer in time"


class ArchiveError(MoonpoolError):
    """A copy of a disk could not be made or brought back; what was there before is there still."""

    code = "archive_error"
    default = "The archive could not be made or brought back"


class StoreUnavailable(ArchiveError):
    code = "archive_store_unavailable"
    default = "The archive store does not answer"
    default_hint = "Look at the store's own state, and at MOONPOOL_ARCHIVE."


class ArchiveCorrupt(ArchiveError):
    code = "archive_corrupt"
    default = "The archive is damaged"


class ArchiveIncompatible(ArchiveError):
    """The archive holds what differs from a base that is not here."""

    code = "archive_incompatible"
    default = "The archive belongs to another state of its base image, which is not on this server"
    default_hint = "Restore it on the server that made it, with that server's disk pool."


class TransferCancelled(ArchiveError):
    code = "transfer_cancelled"
    default = "The transfer was ended by another request"


class NoCapacity(MoonpoolError):
    code = "no_capacity"
    default = "This host has no room for another sandbox now"


class Overloaded(NoCapacity):
    code = "overloaded"
    default = "The server holds as much as it can of what is being sent to it and from it"
    default_hint = "Try again in a moment, or ask for less at once."


class NoDiskSpace(NoCapacity):
    code = "no_disk_space"
    default = "The server's disk is full"
    default_hint = "Free some space on the server."
