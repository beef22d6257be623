"""How fast a team may ask: token buckets in memory, so that no request waits for SQL."""

import math
from dataclasses import dataclass
from enum import StrEnum

from moonpool.access.limits import LimitBook
from moonpool.access.model import Principal
from moonpool.clock import Clock
from moonpool.errors import RateLimited

HOUR = 3600.0  # seconds


class Throttle(StrEnum):
    """What is counted: every request of a team, every one of a single key, creates, and changes of state."""

    REQUESTS = "requests"
    KEY_REQUESTS = "key_requests"
    CREATES = "creates"
    CHANGES = "changes"


WORDS = {
    Throttle.REQUESTS: "requests",
    Throttle.KEY_REQUESTS: "requests with this key",
    Throttle.CREATES: "new sandboxes",
    Throttle.CHANGES: "changes of sandboxes",
}


@dataclass(frozen=True)
class Allowance:
    """``remaining`` of ``limit`` now; ``resets_in`` seconds until all of it is there again, where none is used."""

    limit: int
    remaining: int
    resets_in: float

    @property
    def used(self) -> int:
        return self.limit - self.remaining


@dataclass
class Bucket:
    tokens: float
    at: float  # on the monotonic clock


class Throttles:
    """A bucket holds an hour's worth and fills evenly, so that what was not used an hour ago is not there twice."""

    def __init__(self, limits: LimitBook, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: dict[tuple[Throttle, str], Bucket] = {}

    def admit(self, principal: Principal) -> None:
        """A request of this key and of its team; RateLimited, with ``retry_after`` seconds in its details."""
        if principal.key_id is not None:
            self._spend(Throttle.KEY_REQUESTS, principal.key_id, principal.team_id, 1)
        self._spend(Throttle.REQUESTS, principal.team_id, principal.team_id, 1)

    def spend(self, principal: Principal, throttle: Throttle, amount: int = 1) -> None:
        """All of ``amount`` or, with RateLimited, nothing."""
        self._spend(throttle, principal.team_id, principal.team_id, amount)

    def give_back(self, principal: Principal, throttle: Throttle, amount: int) -> None:
        """What was spent on something that was not done after all."""
        if (limit := self._limit(throttle, principal.team_id)) is not None:
            self._bucket(throttle, principal.team_id, limit).tokens += amount

    def allowance(self, principal: Principal, throttle: Throttle) -> Allowance | None:
        """None where there is no limit."""
        limit = self._limit(throttle, principal.team_id)
        owner = principal.key_id if throttle is Throttle.KEY_REQUESTS else principal.team_id
        if limit is None or owner is None:
            return None
        tokens = self._bucket(throttle, owner, limit).tokens
        return Allowance(limit, int(tokens), (limit - tokens) * HOUR / limit if limit else HOUR)

    def _limit(self, throttle: Throttle, team_id: str) -> int | None:
        limit: int | None = getattr(self._limits.of(team_id), f"{throttle}_hourly")
        return limit

    def _spend(self, throttle: Throttle, owner: str, team_id: str, amount: int) -> None:
        limit = self._limit(throttle, team_id)
        if limit is None:
            return
        bucket = self._bucket(throttle, owner, limit)
        if bucket.tokens < amount:
            wait = math.ceil((amount - bucket.tokens) * HOUR / limit) if limit else int(HOUR)
            raise RateLimited(
                f"All {limit} {WORDS[throttle]} of an hour are used",
                hint=f"Try again in {wait} s.",
                throttle=throttle,
                retry_after=wait,
            )
        bucket.tokens -= amount

    def _bucket(self, throttle: Throttle, owner: str, limit: int) -> Bucket:
        """As full as it is now."""
        now = self._clock.monotonic()
        bucket = self._buckets.get((throttle, owner))
        if bucket is None:
            bucket = self._buckets[throttle, owner] = Bucket(float(limit), now)
        bucket.tokens = min(float(limit), bucket.tokens + max(0.0, now - bucket.at) * limit / HOUR)
        bucket.at = now
        return bucket
