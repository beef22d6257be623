"""Users, the teams they are in, and what lets them in: frozen data."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from moonpool.access.model import ALL_SCOPES, MANAGERS, Principal, Scope, TeamRole

ACTIVATION_LIFETIME = timedelta(minutes=30)
RESET_LIFETIME = timedelta(minutes=15)
INVITATION_LIFETIME = timedelta(days=7)
SESSION_IDLE = timedelta(hours=6)
SESSION_LIFETIME = timedelta(hours=24)
DELETION_GRACE = timedelta(days=15)  # between the deletion of an account and its end


class UserStatus(StrEnum):
    """``PENDING`` until the address is known to be the user's own; ``DELETED`` ones end after ``DELETION_GRACE``."""

    PENDING = "pending"
    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


@dataclass(frozen=True)
class User:
    """``handle`` names the server's own users (``admin``), and is the id of all others. ``team_id`` is the team that a
    login begins in. ``has_password``: there is one, which nothing but a login ever looks at."""

    id: str
    handle: str
    team_id: str
    name: str
    email: str
    status: UserStatus
    platform_admin: bool
    has_password: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None

    @property
    def built_in(self) -> bool:
        return self.handle != self.id


@dataclass(frozen=True)
class Team:
    """``slug`` is unique on the server for good, ``name`` is what its members call it. ``personal``: came with its
    user's account. A deleted one is ``emptied_at`` some moment after ``deleted_at``."""

    id: str
    slug: str
    name: str
    personal: bool
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    emptied_at: datetime | None = None


@dataclass(frozen=True)
class Role:
    """What plain members are given. ``team_id`` None: there is one like it in every team, and it cannot be changed."""

    id: str
    team_id: str | None
    name: str
    description: str
    permissions: frozenset[Scope]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Membership:
    team_id: str
    user_id: str
    role: TeamRole
    role_ids: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Member:
    """A user as a member of one team."""

    user: User
    membership: Membership

    @property
    def role(self) -> TeamRole:
        return self.membership.role


@dataclass(frozen=True)
class TeamOfUser:
    """A team as one of a user's."""

    team: Team
    membership: Membership


class InvitationStatus(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Invitation:
    """To whoever has the address ``email``. One that has expired is still ``PENDING``, and good for nothing."""

    id: str
    team_id: str
    email: str
    role: TeamRole
    role_ids: tuple[str, ...]
    invited_by: str
    status: InvitationStatus
    created_at: datetime
    updated_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Session:
    """A browser that somebody signed in with; it sees ``team_id``."""

    id: str
    user_id: str
    team_id: str
    user_agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime

    def ended(self, now: datetime) -> bool:
        return now >= self.expires_at or now - self.last_seen_at >= SESSION_IDLE


@dataclass(frozen=True)
class SignedIn:
    """``token`` is told to the browser alone, and stored hashed."""

    session: Session
    user: User
    role: TeamRole
    token: str


@dataclass(frozen=True)
class Client:
    """Where a request comes from: an address, and what the program calls itself."""

    address: str
    user_agent: str = ""


# -- roles that every team has -----------------------------------------------------------------------------------------

BEGINNING = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
S = Scope

# Whoever is a member may look, and make keys that allow no more than they may themselves.
MEMBER_SCOPES = frozenset({S.SANDBOXES_READ, S.SNAPSHOTS_READ, S.KEYS_READ, S.KEYS_WRITE})


def _built_in(number: int, name: str, description: str, *permissions: Scope) -> Role:
    role_id = f"00000000-0000-0000-0000-{number:012}"
    return Role(role_id, None, name, description, frozenset(permissions), BEGINNING, BEGINNING)


BUILT_IN_ROLES = (
    _built_in(1, "Developer", "Makes sandboxes and uses them", S.SANDBOXES_WRITE),
    _built_in(2, "Sandboxes Admin", "Makes and deletes sandboxes", S.SANDBOXES_WRITE, S.SANDBOXES_DELETE),
    _built_in(3, "Snapshots Admin", "Makes and deletes snapshots", S.SNAPSHOTS_WRITE, S.SNAPSHOTS_DELETE),
    _built_in(4, "Registries Admin", "Sets and deletes registries", S.REGISTRIES_WRITE, S.REGISTRIES_DELETE),
    _built_in(5, "Super Admin", "Everything", *(scope for scope in Scope if scope is not Scope.ADMIN)),
    _built_in(6, "Volumes Admin", "Makes and deletes volumes", S.VOLUMES_READ, S.VOLUMES_WRITE, S.VOLUMES_DELETE),
    _built_in(7, "Auditor", "Reads the log of who did what", S.AUDIT_READ),
)
DEVELOPER = BUILT_IN_ROLES[0].id
# What somebody is given whose roles nobody chose: all that is for everyday work, nothing of the team's own.
USUAL_ROLES = tuple(BUILT_IN_ROLES[index].id for index in (1, 2, 3, 5))


def scopes_of(role: TeamRole, assigned: tuple[Role, ...]) -> frozenset[Scope]:
    """What a member may do: by its role in the team, else by the roles ``assigned`` to it."""
    if role in MANAGERS:
        return ALL_SCOPES
    return MEMBER_SCOPES.union(*(one.permissions for one in assigned))


def principal_of_session(session: Session, user: User, role: TeamRole, scopes: frozenset[Scope]) -> Principal:
    return Principal(
        session.team_id,
        session.user_id,
        None,
        scopes,
        role=role,
        session_id=session.id,
        platform_admin=user.platform_admin,
    )
