"""Memory and processor figures of a VM, sample by sample."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response

from moonpool.dialects.freestyle.lookup import awake
from moonpool.dialects.freestyle.requests import Call, Handler, JsonLines
from moonpool.dialects.freestyle.vms import moment
from moonpool.errors import EngineError, InvalidState, SandboxNotFound
from moonpool.hosts.model import MEBIBYTE, MachineUsage
from moonpool.sandboxes.model import Sandbox

INTERVAL, LEAST, MOST = 1000, 100, 10_000  # milliseconds


async def stats_stream(call: Call) -> Response:
    """Seen from outside, so that looking neither wakes the VM nor keeps it from its rest. Ends with the VM."""
    wanted = call.number("interval_ms")
    interval = min(max(INTERVAL if wanted is None else wanted, LEAST), MOST) / 1000
    sandbox = await awake(call)
    return JsonLines(samples(call, sandbox, interval), AsyncExitStack())


async def samples(call: Call, sandbox: Sandbox, interval: float) -> AsyncIterator[Mapping[str, Any]]:
    before: tuple[float, MachineUsage] | None = None
    while True:
        try:
            usage = await call.services.sandboxes.usage(call.principal, sandbox.id)
        except (InvalidState, EngineError, SandboxNotFound):
            return
        now = call.services.clock.monotonic()
        yield {"timestamp": moment(call.services.clock.now()), **figures(sandbox, usage, before, now)}
        before = now, usage
        await asyncio.sleep(interval)


def figures(
    sandbox: Sandbox, usage: MachineUsage, before: tuple[float, MachineUsage] | None, now: float
) -> Mapping[str, Any]:
    """``cpuUsagePercent`` since the sample before: 100 is one processor, and 0 stands in the first."""
    percent = 0.0
    if before is not None and now > before[0]:
        spent = max(0, usage.cpu_microseconds - before[1].cpu_microseconds)
        percent = spent / 1e6 / (now - before[0]) * 100
    return {
        "cpuTimeSeconds": usage.cpu_microseconds / 1e6,
        "cpuUsagePercent": round(percent, 2),
        "vcpuCount": sandbox.resources.cpu,
        "memoryUsedBytes": usage.memory_bytes,
        "memoryTotalBytes": sandbox.resources.memory_mib * MEBIBYTE,
        "diskUsedBytes": usage.disk_bytes,
        "diskTotalBytes": sandbox.resources.disk_mib * MEBIBYTE,
    }


HANDLERS: Mapping[str, Handler] = {"stats_stream": stats_stream}
