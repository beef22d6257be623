"""A command through HTTP beside the same sandbox's own spawn, in turns: machines are too noisy for two runs."""

import asyncio
import time
from pathlib import Path

import httpx

from moonpool.bench.figures import Figure, milliseconds_since
from moonpool.engine.instance import Instance
from moonpool.engine.network.addresses import AGENT_PORT, slot_address
from moonpool.engine.network.host import held
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.records import Records

CONNECT_TIMEOUT = 15.0  # seconds
TRUE = ProcessSpec(argv=("/bin/bash", "-c", "true"))


async def command_figures(client: httpx.AsyncClient, data: Path, identifier: str, runs: int) -> list[Figure]:
    """What HTTP, the database and the dialect add to a command; ``data`` is the server's folder."""
    agent = await agent_of(Instance(data), identifier)
    spawns, commands, added = [], [], []
    try:
        for _ in range(runs):
            spawns.append(await spawn(agent))
            commands.append(await execute(client, identifier))
            added.append(commands[-1] - spawns[-1])
    finally:
        await agent.close()
    return [
        Figure("shell command true, the agent alone", "ms", tuple(spawns)),
        Figure("shell command true, HTTP, in turns with it", "ms", tuple(commands)),
        Figure("what HTTP adds to it", "ms", tuple(added), bar="p50 <= 5 ms"),
    ]


async def agent_of(instance: Instance, identifier: str) -> AgentClient:
    """A second connection to the agent of a sandbox that a server of this machine runs."""
    record = next(record for record in Records(instance.run / "machines").read_all() if record.spec.id == identifier)
    reservation = (await asyncio.to_thread(held, instance.tag))[0]
    address = slot_address(reservation.block, record.slot)
    return await AgentClient.connect(address, AGENT_PORT, record.secret.encode(), timeout=CONNECT_TIMEOUT)


async def spawn(agent: AgentClient) -> float:
    started = time.perf_counter()
    await agent.run(TRUE)
    return milliseconds_since(started)


async def execute(client: httpx.AsyncClient, identifier: str) -> float:
    started = time.perf_counter()
    answer = await client.post(f"/toolbox/{identifier}/process/execute", json={"command": "true"})
    answer.raise_for_status()
    return milliseconds_since(started)
