"""What `moonpool doctor` finds: about the machine, and about what a server has on it."""

import time

import httpx

from moonpool.cli.client import url_of
from moonpool.cli.settings import SERVING, lock_holder
from moonpool.hosts.blanks import SPARES
from moonpool.hosts.inspection import Finding, Verdict, inspect_machine
from moonpool.hosts.leftovers import cgroup_names, leftovers
from moonpool.hosts.settings import HostSettings

SUBJECT = "leftovers"
START_IT = "Start the server on this data folder: it takes this over or removes it."
LOOKS = 10  # at a server that is making or removing members
PAUSE = 0.3  # seconds between them


def diagnose(settings: HostSettings) -> list[Finding]:
    return [*inspect_machine(settings), *leak_check(settings)]


def leak_check(settings: HostSettings) -> list[Finding]:
    """With no server running, everything of it must be gone, and each thing that is not is named; with one, its own
    count must fit what is there."""
    try:
        holder = lock_holder(settings.data)
        found = [] if holder else leftovers(settings)
        holder = holder or (lock_holder(settings.data) if found else None)  # One may have started meanwhile.
    except PermissionError as error:
        return [Finding(SUBJECT, Verdict.NOTE, f"cannot be looked for: {error}", "Ask again as root.")]
    if holder:
        return [_beside(settings, holder)]
    if found:
        return [Finding(SUBJECT, Verdict.LEFT, thing, START_IT) for thing in found]
    return [Finding(SUBJECT, Verdict.GOOD, "no server runs, and nothing of one is there")]


def _beside(settings: HostSettings, holder: str) -> Finding:
    """Members that are being made or removed count on one side only, hence several looks."""
    _, serves, listen = holder.partition(SERVING)
    if not serves:
        return Finding(SUBJECT, Verdict.NOTE, f"{holder} is at work on the data folder", "Ask again when it is done.")
    text = ""
    for look in range(LOOKS):
        if look:
            time.sleep(PAUSE)
        counts = _counts(listen)
        if counts is None:
            text = f"a server holds the data folder ({holder}) but does not answer"
            return Finding(SUBJECT, Verdict.NOTE, text, "It may be starting or stopping: ask again in a moment.")
        running, warm = counts
        found = len(cgroup_names(settings))
        text = f"a server runs: {running} sandboxes, {warm} warm members, {found} control groups"
        if found <= running + warm + SPARES:
            return Finding(SUBJECT, Verdict.GOOD, text)
    return Finding(SUBJECT, Verdict.NOTE, text, "More groups than members: ask again when no sandbox is being made.")


def _counts(listen: str) -> tuple[int, int] | None:
    """Running sandboxes and warm members, as the server on ADDRESS:PORT counts them."""
    try:
        answer = httpx.get(f"{url_of(listen)}/healthz", timeout=5.0, trust_env=False).json()
        return int(answer["running"]), int(answer["warm"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
