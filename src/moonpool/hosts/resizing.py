"""Other limits for a sandbox that runs."""

import structlog

from moonpool.engine.cgroups import Cgroups
from moonpool.errors import MoonpoolError
from moonpool.hosts.machine import LiveMachine
from moonpool.hosts.members import limits_of
from moonpool.hosts.model import MEBIBYTE, Resources
from moonpool.hosts.threads import Threads

log = structlog.get_logger(__name__)


async def resize(machine: LiveMachine, resources: Resources, cgroups: Cgroups, threads: Threads) -> None:
    """In force at once, and told to programs. EngineError where more memory is in use than the new limit allows."""
    await threads.run(cgroups.set_limits, machine.member.name, limits_of(resources))
    try:
        async with machine.session() as agent:
            await agent.limit(resources.pids, cpu=resources.cpu, memory_bytes=resources.memory_mib * MEBIBYTE)
    except MoonpoolError as error:  # The limits hold all the same.
        log.warning("sizes_not_told", sandbox=machine.spec.id, reason=error.message)
