"""An operator's figures, read at the moment of asking, and counted as things happen."""

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from moonpool.errors import MoonpoolError
from moonpool.events.service import EventService
from moonpool.hosts.model import MEBIBYTE, Readiness, Room
from moonpool.metrics.service import MetricsService
from moonpool.sandboxes.flights import Operation
from moonpool.sandboxes.holdings import held_together
from moonpool.sandboxes.model import SandboxState
from moonpool.sandboxes.records import Records

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OK, CANCELLED, INTERNAL = "ok", "cancelled", "internal_error"


class ToldByHost(Protocol):
    def readiness(self) -> Readiness: ...

    async def room(self) -> Room: ...


class OperationFigures:
    """Changes of sandboxes by how they ended, and how long those that succeeded took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "moonpool_operations", "Changes of sandboxes that have ended", ["operation", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "moonpool_operation_seconds",
            "Time that a change of a sandbox took",
            ["operation"],
            buckets=SECONDS,
            registry=registry,
        )
        for operation in Operation:
            self._ended.labels(operation.value, OK)

    def note(self, operation: Operation, seconds: float, error: BaseException | None) -> None:
        self._ended.labels(operation.value, outcome_of(error)).inc()
        if error is None:
            self._seconds.labels(operation.value).observe(seconds)


def outcome_of(error: BaseException | None) -> str:
    """A code of ``errors``, or what else became of it."""
    if error is None:
        return OK
    if isinstance(error, MoonpoolError):
        return error.code
    return INTERNAL if isinstance(error, Exception) else CANCELLED


@dataclass(frozen=True)
class Sources:
    """What the server as a whole is asked for."""

    host: ToldByHost
    records: Records
    events: EventService
    metrics: MetricsService
    version: str


class ServerFigures(Collector):
    """Of all teams together."""

    def __init__(self, sources: Sources, registry: CollectorRegistry) -> None:
        self._sources = sources
        self._room: Room | None = None
        ProcessCollector(registry=registry)
        registry.register(self)

    async def refresh(self) -> None:
        """What must be waited for; before each collection."""
        self._room = await self._sources.host.room()

    def collect(self) -> Iterable[Metric]:
        yield from self._sandboxes()
        yield from self._pool()
        yield from self._machine()
        events, metrics = self._sources.events, self._sources.metrics
        yield gauge("moonpool_event_listeners", "Streams of events that are open", events.listeners)
        yield gauge("moonpool_events_behind", "Events that the slowest open stream has not taken yet", events.behind)
        used = "Processor time that sandboxes used since the server started"
        yield CounterMetricFamily("moonpool_sandbox_cpu_seconds", used, metrics.cpu_used_seconds)
        info = GaugeMetricFamily("moonpool_info", "This server", labels=["version"])
        info.add_metric([self._sources.version], 1)
        yield info

    def _sandboxes(self) -> Iterable[Metric]:
        live = tuple(self._sources.records.all())
        states, held = Tally(sandbox.state for sandbox in live), held_together(live)
        family = GaugeMetricFamily("moonpool_sandboxes", "Sandboxes by state", labels=["state"])
        for state in SandboxState:
            if state is not SandboxState.DESTROYED:
                family.add_metric([state.value], states[state])
        yield family
        yield gauge("moonpool_reserved_cpu_cores", "Cores of running sandboxes", held.cpu)
        yield gauge("moonpool_reserved_memory_bytes", "Memory of running sandboxes", held.memory_mib * MEBIBYTE)
        yield gauge("moonpool_reserved_disk_bytes", "Disk of sandboxes", held.disk_mib * MEBIBYTE)

    def _pool(self) -> Iterable[Metric]:
        readiness = self._sources.host.readiness()
        yield gauge("moonpool_warm_machines", "Warm machines ready to be claimed", readiness.warm)
        yield gauge("moonpool_warm_machines_target", "Warm machines that there are to be", readiness.target)
        yield gauge("moonpool_asleep_sandboxes", "Running sandboxes that sleep", readiness.asleep)

    def _machine(self) -> Iterable[Metric]:
        if self._room is None:
            return
        room = self._room
        yield gauge("moonpool_disk_pool_bytes", "Size of the disk pool", room.disk_total)
        yield gauge("moonpool_disk_pool_free_bytes", "What can still be written in the disk pool", room.disk_free)
        yield gauge("moonpool_memory_bytes", "Memory of the machine", room.memory_total)
        yield gauge("moonpool_memory_available_bytes", "Memory that can be had", room.memory_available)


def gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value)
