"""The core's people and Wrenn's, both ways: ids, bodies that the contract has no names for, answers."""

from typing import Annotated

from pydantic import Field, StrictBool, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from moonpool.access.model import ApiKey, NewApiKey, TeamRole
from moonpool.access.people import Client, Member, Session, SignedIn, Team, TeamOfUser, User
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn import cookies, schemas
from moonpool.dialects.wrenn.mapping import second
from moonpool.dialects.wrenn.requests import answer
from moonpool.dialects.wrenn.wire import WireModel

USER_PREFIX, TEAM_PREFIX, KEY_PREFIX, SESSION_PREFIX = "usr-", "team-", "key-", "ses-"
TEAM_NAME = r"^[A-Za-z0-9 _]{1,128}$"


def bare(wire_id: str, prefix: str) -> str:
    """Our id of theirs, with or without its prefix; what is none of ours is found nowhere."""
    return wire_id.removeprefix(prefix)


# -- bodies ------------------------------------------------------------------------------------------------------------
# Addresses are the core's to judge: it takes those of a company's own network too.


class SignupRequest(schemas.SignupRequest):
    email: StrictStr


class LoginRequest(schemas.LoginRequest):
    email: StrictStr


class TokenBody(WireModel):
    token: StrictStr


class TeamChoice(WireModel):
    team_id: StrictStr


class PersonName(WireModel):
    name: Annotated[StrictStr, Field(min_length=1, max_length=100)]


class Confirmation(WireModel):
    confirmation: StrictStr


class Address(WireModel):
    email: StrictStr


class NewPassword(WireModel):
    token: StrictStr
    new_password: Annotated[StrictStr, Field(min_length=8)]


class TeamName(WireModel):
    name: Annotated[StrictStr, Field(pattern=TEAM_NAME)]


class WantedRole(WireModel):
    role: Annotated[StrictStr, Field(pattern="^(admin|member)$")]


class AdminFlag(WireModel):
    admin: StrictBool


class ActiveFlag(WireModel):
    active: StrictBool


class ByocFlag(WireModel):
    byoc: StrictBool


# -- answers -----------------------------------------------------------------------------------------------------------


class MeResponse(schemas.MeResponse):
    email: StrictStr | None = None


class OwnSession(WireModel):
    id: StrictStr
    user_agent: StrictStr
    ip_address: StrictStr
    created_at: str
    last_seen_at: str
    expires_at: str
    current: StrictBool


class OwnSessions(WireModel):
    sessions: list[OwnSession]


def client_of(request: Request) -> Client:
    return Client(request.client.host if request.client else "", request.headers.get("user-agent", ""))


def session_answer(request: Request, services: Services, signed: SignedIn) -> Response:
    """With the cookies of a new session, whatever the browser had before."""
    told = schemas.SessionResponse(
        user_id=USER_PREFIX + signed.user.id,
        team_id=TEAM_PREFIX + signed.session.team_id,
        email=signed.user.email,
        name=signed.user.name,
        role=signed.role,
        is_admin=signed.user.platform_admin,
    )
    response = answer(told)
    secure = cookies.is_secure(request, services.server.public_url)
    cookies.give(response, signed.token, services.community.sessions.csrf(signed.token), secure=secure)
    return response


def signed_out(request: Request, services: Services) -> Response:
    response = Response(status_code=204)
    cookies.take(response, secure=cookies.is_secure(request, services.server.public_url))
    return response


def own_session(session: Session, current: str | None) -> OwnSession:
    moments = (session.created_at, session.last_seen_at, session.expires_at)
    created, seen, expires = (second(moment).isoformat().replace("+00:00", "Z") for moment in moments)
    return OwnSession(
        id=SESSION_PREFIX + session.id,
        user_agent=session.user_agent,
        ip_address=session.address,
        created_at=created,
        last_seen_at=seen,
        expires_at=expires,
        current=session.id == current,
    )


def team(one: Team) -> schemas.Team:
    return schemas.Team(id=TEAM_PREFIX + one.id, name=one.name, slug=one.slug, created_at=second(one.created_at))


def team_with_role(one: TeamOfUser) -> schemas.TeamWithRole:
    return schemas.TeamWithRole(**team(one.team).model_dump(), role=role(one.membership.role))


def role(ours: TeamRole) -> schemas.Role:
    return schemas.Role(ours.value)


def member(one: Member) -> schemas.TeamMember:
    return schemas.TeamMember(
        user_id=USER_PREFIX + one.user.id,
        email=one.user.email,
        role=role(one.role),
        joined_at=second(one.membership.created_at),
    )


def found_user(user: User) -> schemas.UserSearchResult:
    return schemas.UserSearchResult(user_id=USER_PREFIX + user.id, email=user.email)


def api_key(key: ApiKey) -> schemas.APIKeyResponse:
    return schemas.APIKeyResponse(
        id=KEY_PREFIX + key.id,
        team_id=TEAM_PREFIX + key.team_id,
        name=key.name,
        key_prefix=f"{key.prefix}...",
        created_at=second(key.created_at),
        last_used=second(key.last_used_at) if key.last_used_at else None,
    )


def new_api_key(made: NewApiKey) -> schemas.APIKeyResponse:
    return api_key(made.key).model_copy(update={"key": made.secret})
