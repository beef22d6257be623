"""Figures of the sandbox, and the ports its programs listen on."""

from starlette.responses import Response

from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.errors import InvalidInput

WATCHED_PORTS = range(3000, 10_000)  # those that the vendor's server tells of
HIGHEST_PORT = 65_535
MEBIBYTE = 1024 * 1024


async def metrics(call: Call) -> Response:
    async with call.tools.sandboxes.session(call.principal, call.sandbox) as session:
        figures = await session.agent.metrics()
    # The sandbox's kernel tells the size of the host's whole pool.
    sandboxes = call.tools.services.sandboxes
    size = (await sandboxes.get(call.principal, call.sandbox)).resources.disk_mib * MEBIBYTE
    used = (await sandboxes.usage(call.principal, call.sandbox)).disk_bytes
    now = call.tools.services.clock.now()
    return json_response(
        {
            "cpuCount": figures.cpu_count,
            "cpuUsedPct": figures.cpu_used_percent,
            "memTotal": figures.memory_total,
            "memUsed": figures.memory_used,
            "memCache": figures.memory_cached,
            "diskTotal": size,
            "diskUsed": used,
            "diskFree": max(0, size - used),
            "timestamp": timestamp(now),
            "timestampUnix": int(now.timestamp()),
        }
    )


async def ports(call: Call) -> Response:
    async with call.tools.sandboxes.session(call.principal, call.sandbox) as session:
        listening = {port.port for port in await session.agent.ports()}
    return json_response({"ports": sorted(listening.intersection(WATCHED_PORTS))})


async def port_in_use(call: Call) -> Response:
    text = call.parameters["port"]
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= HIGHEST_PORT):
        raise InvalidInput(f"port must be a number from 1 to {HIGHEST_PORT}", field="port")
    async with call.tools.sandboxes.session(call.principal, call.sandbox) as session:
        listening = {port.port for port in await session.agent.ports()}
    return json_response({"isInUse": int(text) in listening})
