"""New sandboxes: forks of sandboxes, and sandboxes from snapshots."""

import re
from dataclasses import dataclass, replace
from typing import Any

from moonpool.dialects.codesandbox.call import Call
from moonpool.dialects.codesandbox.details import Details, details_of, labels_with
from moonpool.dialects.codesandbox.mapping import (
    DEFAULT_HIBERNATION,
    DEFAULT_TEMPLATE,
    SIZES,
    USER,
)
from moonpool.dialects.codesandbox.schemas import StartOptions
from moonpool.dialects.codesandbox.starting import make_workspace
from moonpool.dialects.codesandbox.steps import insist
from moonpool.errors import InvalidInput, SandboxNotFound, SnapshotNotFound, TagNotFound
from moonpool.sandboxes.model import Fork, NewSandbox, Sandbox, SandboxChange, Timers
from moonpool.sandboxes.service import unheard_of
from moonpool.sandboxes.tags import TAG_PREFIX
from moonpool.snapshots.model import Snapshot

ALIAS_LENGTH = 40  # characters of a title in an alias
PRIVACIES = (0, 1, 2)


@dataclass(frozen=True)
class Wanted:
    """A new sandbox: what only this API knows of it, and how its machine is to be."""

    details: Details
    options: StartOptions

    @property
    def idle_timeout(self) -> float | None:
        seconds = self.options.hibernation_timeout_seconds
        return None if seconds is None else float(seconds)


async def make(call: Call, reference: str, wanted: Wanted) -> Sandbox:
    """A running copy of what ``reference`` names: a sandbox's id, a template's tag or ``namespace@alias``, a snapshot's
    name. SandboxNotFound, RateLimited, and what creating raises."""
    source = await source_of(call, reference)
    if isinstance(source, Sandbox):
        made = await insist(call, source.id, lambda found: fork(call, found, wanted))
    else:
        made = await create(call, source, wanted)
    call.shared.unstarted.add(made.id)
    return made


async def source_of(call: Call, reference: str) -> Sandbox | Snapshot:
    """By id alone where it is a sandbox: else a sandbox could hide a template by its name."""
    services, principal = call.services, call.principal
    if "@" in reference or reference.startswith(TAG_PREFIX):
        try:
            return await services.tags.resolve(principal, reference)
        except TagNotFound as error:
            raise SandboxNotFound(error.message) from None
    try:
        found = await services.sandboxes.get(principal, reference)
        if found.id == reference:
            return found
    except SandboxNotFound:
        pass
    try:
        return await services.snapshots.get(principal, reference)
    except SnapshotNotFound:
        raise SandboxNotFound(f"There is no sandbox and no template {reference[:128]!r}") from None


async def create(call: Call, snapshot: Snapshot, wanted: Wanted) -> Sandbox:
    details, size = wanted.details, SIZES[wanted.options.tier] if wanted.options.tier else None
    new = NewSandbox(
        snapshot=snapshot.id,
        user=snapshot.user,
        usual_user=USER,
        labels=labels_with(details.tags),
        public=details.public,
        cpu=float(size.cpu) if size else None,
        memory_mib=size.memory_mib if size else None,
        disk_mib=max(size.disk_mib, snapshot.resources.disk_mib) if size else None,
        timers=Timers(idle_timeout=wanted.idle_timeout or DEFAULT_HIBERNATION),
        dialect_data=details.stored,
    )
    made = await call.services.sandboxes.create(call.principal, new, known=unheard_of)
    if snapshot.name != DEFAULT_TEMPLATE:
        await make_workspace(call, made)
    return made


async def fork(call: Call, source: Sandbox, wanted: Wanted) -> Sandbox:
    """With the source's size, which a start may change. What wakes the source up wakes its copy up, unless said
    otherwise."""
    details = replace(wanted.details, image=details_of(source).image)
    timers = Timers(idle_timeout=wanted.idle_timeout or source.timers.idle_timeout or DEFAULT_HIBERNATION)
    copy = Fork(labels=labels_with(details.tags, source.labels), timers=timers, dialect_data=details.stored)
    (made,) = await call.services.sandboxes.fork(call.principal, source.id, [copy])
    if made.public != details.public:
        made = await call.services.sandboxes.update(call.principal, made.id, SandboxChange(public=details.public))
    return made


def checked_privacy(privacy: int | None) -> int:
    value = privacy or 0
    if value not in PRIVACIES:
        raise InvalidInput("privacy: 0 is public, 1 unlisted, 2 private", field="privacy")
    return value


def created_json(sandbox: Sandbox, start_response: dict[str, Any] | None = None) -> dict[str, Any]:
    title = details_of(sandbox).title
    answer: dict[str, Any] = {"id": sandbox.id, "alias": alias_of(sandbox.id, title), "title": title}
    return answer if start_response is None else {**answer, "start_response": start_response}


def alias_of(sandbox_id: str, title: str | None) -> str:
    """The id with as much of the title before it as an address can show."""
    words = re.sub(r"[^a-z0-9]+", "-", (title or "").lower())[:ALIAS_LENGTH].strip("-")
    return f"{words}-{sandbox_id}" if words else sandbox_id
