"""What a restarted host does with what it finds: takes over what runs, removes what belongs to nobody."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from moonpool.engine.gvisor import Held, Running
from moonpool.engine.network import Slot
from moonpool.engine.storage import Kind
from moonpool.errors import AgentTimeout, MoonpoolError
from moonpool.hosts.members import Foundry, LiveMember, connect, limits_of
from moonpool.hosts.parts import Parts
from moonpool.hosts.records import Record, Records
from moonpool.hosts.threads import Threads

log = structlog.get_logger(__name__)

# Members that are taken over or removed at the same time: each is thawed for that. Hundreds that are awake at once keep
# each other from answering in time.
AT_ONCE = 8

MEMBER = re.compile(r"m([0-9a-f]{4})")  # how names of members begin: with their slots' numbers


@dataclass(frozen=True)
class Adopted:
    record: Record
    member: LiveMember


async def adopt(
    parts: Parts, foundry: Foundry, records: Records, threads: Threads, taken: Callable[[Adopted], None]
) -> set[str]:
    """Tells ``taken`` at once of every recorded sandbox whose processes live and whose agent answers, so that it may
    rest while others are taken over; the other records are removed. Answers with the members' names."""
    running = {one.name: one for one in await threads.run(parts.driver.running)}
    slots = set(await threads.run(parts.network.numbers))
    foundry.numbers.keep(slots)
    turn, names = asyncio.Semaphore(AT_ONCE), set[str]()

    async def take(record: Record) -> None:
        if record.member not in running or record.slot not in slots:
            records.remove(record.spec.id)
            return
        async with turn:
            adopted = await _take_over(record, running[record.member], parts, foundry, records, threads)
        if adopted is not None:
            names.add(record.member)
            taken(adopted)

    await asyncio.gather(*(take(record) for record in records.read_all()))
    return names


async def sweep(parts: Parts, foundry: Foundry, keep: set[str], threads: Threads) -> None:
    """Removes processes, cgroups, slots, staged and spare subvolumes of nobody.

    What cannot be removed (a process that the kernel does not let go of) keeps its slot and is left to the next start:
    it must not keep everybody else's sandboxes from coming back.
    """
    names = set(await threads.run(parts.driver.names)) | set(await threads.run(parts.cgroups.names))
    turn, kept = asyncio.Semaphore(AT_ONCE), set(keep)

    async def remove(name: str) -> None:
        async with turn:
            log.info("removing_leftover", member=name)
            try:
                await foundry.clear(name, None)
            except MoonpoolError as error:
                log.error("leftover_stays", member=name, reason=error.message)
                kept.add(name)

    await asyncio.gather(*(remove(name) for name in names - keep))
    used = {int(found[1], 16) for name in kept if (found := MEMBER.match(name))}
    for number in set(await threads.run(parts.network.numbers)) - used:
        await threads.run(parts.network.destroy, number)
    foundry.numbers.keep(used)
    for kind in (Kind.STAGING, Kind.SPARES):
        for name in await threads.run(parts.pool.names, kind):
            try:
                await threads.run(parts.pool.delete, kind, name)
            except MoonpoolError as error:  # Still being sent by what the old server had begun, for a moment.
                log.warning("disk_left", kind=kind.value, name=name, reason=error.message)


async def _take_over(
    record: Record,
    running: Running,
    parts: Parts,
    foundry: Foundry,
    records: Records,
    threads: Threads,
) -> Adopted | None:
    slot = await threads.run(parts.network.slot, record.slot)
    try:
        await _let_go(record, slot, parts, threads)
        return Adopted(record, await foundry.adopt(running, slot, record.secret))
    except MoonpoolError as error:
        log.warning("sandbox_not_adopted", sandbox=record.spec.id, error=str(error))
        records.remove(record.spec.id)
        with contextlib.suppress(MoonpoolError):  # Until it is removed, it is not to keep others from answering.
            await threads.run(parts.cgroups.freeze, record.member)
        return None


async def _let_go(record: Record, slot: Slot, parts: Parts, threads: Threads) -> None:
    """Undoes what the old server had not come to undo, if it died while it saved or copied this sandbox's memory."""
    held = await threads.run(parts.driver.held, record.member)
    if held is Held.NO:
        return
    await threads.run(parts.cgroups.thaw, record.member)
    if held is Held.YES or not await _answers(slot, record.secret):
        try:
            await threads.run(parts.driver.resume, record.member)
        except AgentTimeout as error:  # It is not lost for that.
            log.warning("kernel_late", sandbox=record.spec.id, reason=error.message)
    await threads.run(parts.cgroups.set_limits, record.member, limits_of(record.spec.resources))


async def _answers(slot: Slot, secret: str) -> bool:
    try:
        (await connect(slot, secret)).hang_up()
    except MoonpoolError:
        return False
    return True
