"""The engine alone: no HTTP, no database, no SDK."""

import asyncio
import time

from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineSpec, Resources
from moonpool.ids import new_sandbox_id

SMALL = Resources(cpu=1.0, memory_mib=1024, disk_mib=3072)
TRUE = ProcessSpec(argv=("/bin/true",))
ECHO = ProcessSpec(argv=("/bin/echo", "hi"))


def specification(image: str = "base") -> MachineSpec:
    identifier = new_sandbox_id()
    return MachineSpec(id=identifier, image=image, resources=SMALL, hostname=identifier, user="daytona")


async def create_and_run(host: Host) -> float:
    """Milliseconds from nothing to the first command's output; the sandbox is removed outside the measured time."""
    await host.ready()
    spec = specification()
    started = time.perf_counter()
    await host.create(spec)
    try:
        await run(host, spec.id, ECHO)
        return milliseconds_since(started)
    finally:
        await host.destroy(spec.id)


async def run(host: Host, identifier: str, process: ProcessSpec) -> None:
    async with host.session(identifier) as agent:
        result = await agent.run(process)
    if result.exit_code != 0:
        raise RuntimeError(f"exit code {result.exit_code}")


async def engine_figures(host: Host, runs: int) -> list[Figure]:
    create = await sample("create + first command, engine alone", runs, lambda: create_and_run(host))
    spec = specification()
    await host.create(spec)
    try:
        command = await sample("command /bin/true, engine alone", runs, lambda: run(host, spec.id, TRUE))
        pauses, resumes = await pause_and_resume(host, spec, max(3, runs // 4))
        wake = await wakes(host, spec, max(3, runs // 10))
    finally:
        await host.destroy(spec.id)
    return [create, command, pauses, resumes, wake]


async def pause_and_resume(host: Host, spec: MachineSpec, runs: int) -> tuple[Figure, Figure]:
    pauses, resumes = [], []
    for _ in range(runs):
        started = time.perf_counter()
        await host.pause(spec.id)
        pauses.append(milliseconds_since(started))
        started = time.perf_counter()
        await host.resume(spec)
        resumes.append(milliseconds_since(started))
    bar = "p50 <= 2 x runsc"
    return (
        Figure("pause of an idle sandbox, engine alone", "ms", tuple(pauses), bar=bar),
        Figure("resume of an idle sandbox, engine alone", "ms", tuple(resumes), bar=bar),
    )


async def wakes(host: Host, spec: MachineSpec, runs: int) -> Figure:
    """From asleep to an answer of the agent."""

    async def once() -> float:
        async with asyncio.timeout(30):
            await host.asleep(spec.id)
        started = time.perf_counter()
        async with host.session(spec.id) as agent:
            await agent.ping()
        return milliseconds_since(started)

    return await sample("wake of a sleeping sandbox", runs, once, bar="<= 10 ms")
