"""Hands telemetry on to collectors: in order for each of them, a few times where it fails, and then not at all."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

import httpx
import structlog

from moonpool.errors import InvalidInput
from moonpool.outbound import Outbound, Unreachable, tls_context
from moonpool.telemetry.model import Signal, Target
from moonpool.telemetry.otlp import PROTOBUF

MAX_WAITING = 200  # requests for one collector; beyond that the newest are dropped
ATTEMPTS = 4
FIRST_PAUSE = 1.0  # seconds, doubled with each attempt
TIMEOUT = 15.0  # seconds for an operator's collector
RETRYABLE = frozenset({429, 502, 503, 504})
IDLE = 30.0  # seconds after which a collector's worker ends

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parcel:
    target: Target
    signal: Signal
    content: bytes = field(repr=False)

    @property
    def url(self) -> str:
        return f"{self.target.endpoint}/v1/{self.signal}"

    @property
    def headers(self) -> dict[str, str]:
        return {**self.target.headers, "Content-Type": PROTOBUF}


class Send(Protocol):
    async def __call__(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> int:
        """The status; Unreachable."""
        ...


class Forwarder:
    """``owner`` names whose collector it is: a team's id, or none for the operator's, which may have any address."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._queues: dict[str | None, asyncio.Queue[Parcel]] = {}
        self._workers: dict[str | None, asyncio.Task[None]] = {}
        self.dropped = 0

    def hand_on(self, owner: str | None, parcel: Parcel) -> None:
        queue = self._queues.setdefault(owner, asyncio.Queue(MAX_WAITING))
        try:
            queue.put_nowait(parcel)
        except asyncio.QueueFull:
            self.dropped += 1
            return
        if owner not in self._workers:
            self._workers[owner] = asyncio.get_running_loop().create_task(self._work(owner, queue), name="telemetry")

    async def close(self) -> None:
        """What still waits is not sent."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if "_client" in self.__dict__:
            await self._client.aclose()

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=tls_context())

    async def _work(self, owner: str | None, queue: asyncio.Queue[Parcel]) -> None:
        try:
            while (parcel := await next_of(queue)) is not None:
                await self._deliver(owner, parcel)
        finally:
            del self._workers[owner], self._queues[owner]

    async def _deliver(self, owner: str | None, parcel: Parcel) -> None:
        if not await delivered(self._to_operators if owner is None else partial(self._to_team, owner), parcel):
            self.dropped += 1
            log.warning("telemetry_not_handed_on", team=owner, signal=parcel.signal.value)

    async def _to_team(self, owner: str, method: str, url: str, headers: Mapping[str, str], content: bytes) -> int:
        return (await self._outbound.send(method, url, headers, content, owner=owner)).status

    async def _to_operators(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> int:
        try:
            return (await self._client.request(method, url, headers=dict(headers), content=content)).status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Unreachable(type(error).__name__) from error


async def next_of(queue: asyncio.Queue[Parcel]) -> Parcel | None:
    """None when there was none for a while."""
    try:
        async with asyncio.timeout(IDLE):
            return await queue.get()
    except TimeoutError:
        return None if queue.empty() else queue.get_nowait()


async def delivered(send: Send, parcel: Parcel) -> bool:
    pause = FIRST_PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(pause)
            pause *= 2
        with contextlib.suppress(Unreachable, InvalidInput):
            status = await send("POST", parcel.url, parcel.headers, parcel.content)
            if status not in RETRYABLE:
                return 200 <= status < 300
    return False
