"""What is asked for: it is wrong, missing, taken, too much, or not there yet."""

from typing import Any

from moonpool.errors.base import MoonpoolError


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
