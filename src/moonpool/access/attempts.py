"""Guesses at passwords, and whatever else strangers may ask for, slowed down: by account and by address."""

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

from moonpool.clock import Clock
from moonpool.errors import RateLimited

FORGOTTEN_AFTER = 3600.0  # seconds without another one
LONGEST_WAIT = 900.0  # seconds
CAPACITY = 100_000  # of accounts and addresses that are remembered
OF_ACCOUNT, OF_ADDRESS = 5, 30  # attempts that are free
IPV6_NETWORK = 64  # bits that one customer usually has


@dataclass
class Tries:
    count: int
    at: float  # on the monotonic clock; the last one


class Attempts:
    """After the free ones each attempt doubles the time to the next, from a second up to ``LONGEST_WAIT``.

    An attempt counts before it is known how it ends, so that many at once do not all count as the first; one that ends
    well is taken back. In memory: a restart forgets, and restarts are the operator's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], Tries] = OrderedDict()

    def begin(self, what: str, *, account: str = "", address: str = "") -> None:
        """RateLimited where it is too soon after the ones before, and then it does not count."""
        asked = self._keys(what, account, address)
        wait = max(self._wait(key, free) for key, free in asked)
        if wait > 0:
            seconds = math.ceil(wait)
            raise RateLimited("Too many attempts", hint=f"Try again in {seconds} s.", retry_after=seconds)
        for key, _ in asked:
            tries = self._tries.get(key)
            self._tries[key] = Tries(1 if tries is None else tries.count + 1, self._clock.monotonic())
            self._tries.move_to_end(key)
        while len(self._tries) > CAPACITY:
            self._tries.popitem(last=False)

    def succeeded(self, what: str, *, account: str = "", address: str = "") -> None:
        """The account begins anew; the address gets back this one alone, since others may guess from it."""
        for key, _ in self._keys(what, account, address):
            tries = self._tries.get(key)
            if tries is not None and key[0].endswith("address"):
                tries.count = max(0, tries.count - 1)
            elif tries is not None:
                del self._tries[key]

    def _keys(self, what: str, account: str, address: str) -> list[tuple[tuple[str, str], int]]:
        keys = [((f"{what} address", network_of(address)), OF_ADDRESS)] if address else []
        return keys + ([((f"{what} account", account), OF_ACCOUNT)] if account else [])

    def _wait(self, key: tuple[str, str], free: int) -> float:
        tries = self._tries.get(key)
        if tries is None:
            return 0.0
        passed = self._clock.monotonic() - tries.at
        if passed >= FORGOTTEN_AFTER:
            del self._tries[key]
            return 0.0
        if tries.count < free:
            return 0.0
        return min(LONGEST_WAIT, 2.0 ** min(tries.count - free, 20)) - passed


def network_of(address: str) -> str:
    """IPv6 addresses count by their network, of which one customer has every address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return str(parsed if parsed.version == 4 else parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))
