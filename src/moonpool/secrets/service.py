"""Use cases of secrets. No answer has a value in it."""

import re
from dataclasses import replace

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput
from moonpool.ids import new_uuid, random_word
from moonpool.secrets.catalogue import SecretCatalogue
from moonpool.secrets.model import SecretChange, SecretQuery, TeamSecret
from moonpool.store.paging import Page, decode_cursor, encode_cursor
from moonpool.store.text import storable

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,254}")
HOST = re.compile(r"(\*\.)?([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
MAX_HOST = 253  # characters
MAX_HOSTS = 50
MAX_VALUE = 32 * 1024  # bytes
MAX_DESCRIPTION = 500  # characters
MAX_PAGE = 200
PLACEHOLDER_LENGTH = 32  # characters


class SecretService:
    """Whoever looks at sandboxes sees which secrets there are; a team's admins make, change and delete them."""

    def __init__(self, access: AccessService, catalogue: SecretCatalogue, clock: Clock) -> None:
        self._access, self._catalogue, self._clock = access, catalogue, clock

    def list(self, principal: Principal, query: SecretQuery) -> Page[TeamSecret]:
        """InvalidInput for a bad cursor or limit."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        if not 1 <= query.limit <= MAX_PAGE:
            raise InvalidInput(f"limit: 1 to {MAX_PAGE}", field="limit")
        part = (query.name or "").lower()
        found = [one for one in self._catalogue.of(principal.team_id) if part in one.name.lower()]
        found.sort(key=lambda one: (getattr(one, query.sort), one.id), reverse=query.descending)
        start = 0 if query.cursor is None else decode_cursor(query.cursor, 1)[0]
        if not isinstance(start, int) or start < 0:
            raise InvalidInput("Invalid cursor", field="cursor")
        end = start + query.limit
        return Page(tuple(found[start:end]), encode_cursor(end) if end < len(found) else None, len(found))

    def get(self, principal: Principal, secret: str) -> TeamSecret:
        """SecretNotFound."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        return self._catalogue.find(principal.team_id, secret)

    async def create(
        self, principal: Principal, name: str, value: str, description: str | None, hosts: tuple[str, ...]
    ) -> TeamSecret:
        """InvalidInput, NameTaken, LimitExceeded."""
        self._access.require(principal, Scope.ADMIN)
        if not NAME.fullmatch(name):
            hint = "Letters, digits, '-' and '_', no digit or '-' first, at most 255."
            raise InvalidInput("name: not one of a secret", field="name", hint=hint)
        now = self._clock.now()
        secret = TeamSecret(
            id=new_uuid(),
            team_id=principal.team_id,
            name=name,
            description=described(description),
            hosts=checked_hosts(hosts),
            placeholder=f"dtn_secret_{random_word(PLACEHOLDER_LENGTH)}",
            value=self._catalogue.seal(checked_value(value)),
            created_at=now,
            updated_at=now,
        )
        await self._catalogue.add(secret)
        return secret

    async def update(self, principal: Principal, secret: str, change: SecretChange) -> TeamSecret:
        """InvalidInput. Sandboxes get a new value with their next start, or when their secrets are set again."""
        self._access.require(principal, Scope.ADMIN)
        old = self._catalogue.find(principal.team_id, secret)
        new = replace(
            old,
            value=old.value if change.value is None else self._catalogue.seal(checked_value(change.value)),
            description=old.description if change.description is None else described(change.description),
            hosts=old.hosts if change.hosts is None else checked_hosts(change.hosts),
            updated_at=self._clock.now(),
        )
        await self._catalogue.write(new)
        return new

    async def delete(self, principal: Principal, secret: str) -> None:
        """Sandboxes have it no longer from their next start on."""
        self._access.require(principal, Scope.ADMIN)
        await self._catalogue.remove(self._catalogue.find(principal.team_id, secret))


def checked_value(value: str) -> str:
    if not value or not storable(value) or len(value.encode()) > MAX_VALUE:
        raise InvalidInput(f"value: 1 to {MAX_VALUE} bytes, no NUL", field="value")
    return value


def checked_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    if len(hosts) > MAX_HOSTS:
        raise InvalidInput(f"hosts: at most {MAX_HOSTS}", field="hosts")
    for host in hosts:
        if len(host) > MAX_HOST or not HOST.fullmatch(host):
            hint = "As api.example.com or *.example.com, without a port."
            raise InvalidInput(f"hosts: not a host: {host[:50]!r}", field="hosts", hint=hint)
    return tuple(dict.fromkeys(host.lower() for host in hosts))


def described(text: str | None) -> str | None:
    if text is not None and (len(text) > MAX_DESCRIPTION or not storable(text)):
        raise InvalidInput(f"description: at most {MAX_DESCRIPTION} characters", field="description")
    return text
