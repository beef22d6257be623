"""Use cases of what is handed on: a team's own collector, and the operator's."""

import json
from collections.abc import Mapping
from typing import Protocol

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, NotFound
from moonpool.outbound import Outbound
from moonpool.store.database import Store
from moonpool.telemetry.model import KeptTarget, Target
from moonpool.telemetry.repository import TargetRepository

MAX_HEADERS = 50
MAX_HEADER = 8192  # characters
OURS = frozenset({"host", "content-type", "content-length", "content-encoding", "connection", "transfer-encoding"})


class Box(Protocol):
    """Encrypts with a key of the server's."""

    def seal(self, secret: str) -> str: ...

    def open(self, sealed: str) -> str: ...


class TelemetryTargets:
    """Each team sees and changes its own alone, with a key that may do everything."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        box: Box,
        outbound: Outbound,
        operators: Target | None,
        clock: Clock,
    ) -> None:
        self._store, self._access, self._box, self._clock = store, access, box, clock
        self._outbound = outbound
        self.operators = operators
        self._repository = TargetRepository()
        self._kept: dict[str, KeptTarget] = {}

    async def load(self) -> None:
        """Also follows what another process has written."""
        async with self._store.reading() as connection:
            self._kept = {target.team_id: target for target in await self._repository.all(connection)}

    def of_team(self, team_id: str) -> Target | None:
        """For the server itself, from memory. EngineError where the server's key has changed."""
        kept = self._kept.get(team_id)
        return None if kept is None else Target(kept.endpoint, json.loads(self._box.open(kept.headers)))

    async def get(self, principal: Principal) -> Target:
        """With its headers, which may be secret. NotFound where there is none."""
        self._access.require(principal, Scope.ADMIN)
        async with self._store.reading() as connection:
            kept = await self._repository.find(connection, principal.team_id)
        if kept is None:
            raise NotFound("No collector is configured for telemetry")
        return Target(kept.endpoint, json.loads(self._box.open(kept.headers)))

    async def set(self, principal: Principal, endpoint: str, headers: Mapping[str, str]) -> None:
        """From now on; what came before is not sent. InvalidInput for an address that may not be asked."""
        self._access.require(principal, Scope.ADMIN)
        address = (await self._outbound.check(endpoint, "endpoint", owner=principal.team_id)).rstrip("/")
        sealed = self._box.seal(json.dumps(check_headers(headers)))
        kept = KeptTarget(principal.team_id, address, sealed, self._clock.now())
        async with self._store.transaction() as transaction:
            await self._repository.write(transaction, kept)
            transaction.after_commit(lambda: self._kept.update({kept.team_id: kept}))

    async def delete(self, principal: Principal) -> None:
        """Nothing to do where there is none."""
        self._access.require(principal, Scope.ADMIN)
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, principal.team_id)
            transaction.after_commit(lambda: self._forget(principal.team_id))

    def _forget(self, team_id: str) -> None:
        self._kept.pop(team_id, None)


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if len(headers) > MAX_HEADERS:
        raise InvalidInput(f"headers: at most {MAX_HEADERS}", field="headers")
    for name, value in headers.items():
        token = name.replace("-", "").replace("_", "").replace(".", "")
        if not token.isalnum() or not name.isascii() or name.lower() in OURS:
            raise InvalidInput(f"headers: {name[:50]!r} cannot be set", field="headers")
        if len(name) + len(value) > MAX_HEADER or not value.isprintable() or not value.isascii():
            raise InvalidInput(f"headers: the value of {name[:50]!r} cannot be sent", field="headers")
    return dict(headers)
