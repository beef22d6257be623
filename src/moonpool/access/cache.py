"""Verified keys, kept in memory for a moment."""

from collections import OrderedDict
from dataclasses import dataclass

from moonpool.access.model import Grant
from moonpool.clock import Clock

TRUSTED_FOR = 10.0  # seconds until a key is looked up again: how long a revocation by another process may take
CAPACITY = 10_000  # keys


@dataclass(frozen=True)
class Verified:
    grant: Grant
    until: float


class KeyCache:
    """By digest, so no key's secret stays in memory. Knows only keys that exist: guesses cannot fill it.

    ``changes`` counts what was forgotten: what was read before a change is not to be kept after it."""

    def __init__(self, clock: Clock) -> None:
        self.changes = 0
        self._clock = clock
        self._verified: OrderedDict[str, Verified] = OrderedDict()
        self._digests: dict[str, str] = {}

    def get(self, digest: str) -> Grant | None:
        found = self._verified.get(digest)
        if found is None or found.until <= self._clock.monotonic():
            return None
        return found.grant

    def by_id(self, key_id: str) -> Grant | None:
        digest = self._digests.get(key_id)
        return None if digest is None else self.get(digest)

    def put(self, digest: str, grant: Grant, since: int) -> None:
        """``since``: how many changes there had been when ``grant`` was asked for."""
        if since != self.changes:
            return
        self._verified[digest] = Verified(grant, self._clock.monotonic() + TRUSTED_FOR)
        self._verified.move_to_end(digest)
        self._digests[grant.key.id] = digest
        if len(self._verified) > CAPACITY:
            _, oldest = self._verified.popitem(last=False)
            self._digests.pop(oldest.grant.key.id, None)

    def forget(self, key_id: str) -> None:
        self.changes += 1
        if digest := self._digests.pop(key_id, None):
            self._verified.pop(digest, None)

    def clear(self) -> None:
        self.changes += 1
        self._verified.clear()
        self._digests.clear()
