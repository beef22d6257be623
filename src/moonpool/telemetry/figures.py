"""Sandboxes' figures for collectors: every minute, of those that run, and of no others: nobody is woken for it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from moonpool.clock import Clock
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.telemetry.files import nanoseconds
from moonpool.telemetry.forwarding import Forwarder, Parcel
from moonpool.telemetry.model import Signal, Target, marks_of

EVERY = 60.0  # seconds

Figure = tuple[float, str]
"""With its unit, as UCUM writes it."""
Figures = Callable[[Sandbox], Mapping[str, Figure] | None]
"""A sandbox's figures of now, by name; None where there are none."""
Targets = Callable[[str], Iterable[tuple[str | None, Target]]]
"""Who is told of a team's sandboxes: a collector's owner, and where it is."""


class FigureReports:
    """A request for each collector, with all that it is told of."""

    def __init__(
        self, records: Records, figures: Figures, targets: Targets, forwarder: Forwarder, clock: Clock
    ) -> None:
        self._records, self._figures, self._targets = records, figures, targets
        self._forwarder, self._clock = forwarder, clock

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self.report()

    def report(self) -> None:
        now = nanoseconds(self._clock.now())
        requests: dict[str | None, tuple[Target, ExportMetricsServiceRequest]] = {}
        targets: dict[str, list[tuple[str | None, Target]]] = {}
        for sandbox in self._records.all():
            if sandbox.state is not SandboxState.RUNNING:
                continue
            if sandbox.team_id not in targets:
                targets[sandbox.team_id] = list(self._targets(sandbox.team_id))
            figures = self._figures(sandbox) if targets[sandbox.team_id] else None
            for owner, target in targets[sandbox.team_id] if figures else ():
                _, request = requests.setdefault(owner, (target, ExportMetricsServiceRequest()))
                add(request, sandbox, figures or {}, now)
        for owner, (target, request) in requests.items():
            self._forwarder.hand_on(owner, Parcel(target, Signal.METRICS, bytes(request.SerializeToString())))


def add(request: ExportMetricsServiceRequest, sandbox: Sandbox, figures: Mapping[str, Figure], now: int) -> None:
    """Gauges, as of ``now`` (nanoseconds since 1970)."""
    part = request.resource_metrics.add()
    marks = {"service.name": f"sandbox-{sandbox.id}", **marks_of(sandbox)}
    part.resource.attributes.extend(KeyValue(key=name, value=AnyValue(string_value=it)) for name, it in marks.items())
    scope = part.scope_metrics.add()
    scope.scope.name = "moonpool"
    for name, (value, unit) in figures.items():
        metric = scope.metrics.add(name=name, unit=unit)
        metric.gauge.data_points.add(time_unix_nano=now, as_double=value)
