"""What ``systemctl`` lists."""

import fnmatch
from collections.abc import Iterator, Sequence

from . import unit_files
from .call import Call
from .names import is_template
from .path_unit import PathUnit
from .properties import DOTS, date_of
from .socket_unit import SocketUnit

NEEDS = ("Requires", "Requisite", "Wants", "BindsTo")


async def units(call: Call) -> int:
    types, states = call.arguments.values("type"), call.arguments.values("state")
    if call.arguments.has("failed"):
        states.append("failed")
    patterns = call.names or ["*"]
    rows = [
        unit
        for unit in call.manager.everything()
        if any(fnmatch.fnmatchcase(unit.name, pattern) for pattern in patterns)
        and (not types or unit.name.rpartition(".")[2] in types)
        and (not states or {unit.active, unit.sub, unit.load_state} & set(states))
        and (call.arguments.has("all") or states or unit.active != "inactive")
    ]
    width = max([len(unit.name) for unit in rows], default=4)
    mark = "" if call.arguments.has("plain") else "  "
    if not call.bare:
        call.console.print(f"{mark}{'UNIT':<{width}} LOAD   ACTIVE SUB     DESCRIPTION")
    for unit in rows:
        dot = mark and ("● " if unit.active == "failed" else "  ")
        row = f"{dot}{unit.name:<{width}} {unit.load_state:<6} {unit.active:<6} {unit.sub:<7} {unit.description}"
        call.console.print(row)
    if not call.bare:
        call.console.print(f"\n{len(rows)} loaded units listed.")
    return 0


async def files(call: Call) -> int:
    types, states = call.arguments.values("type"), call.arguments.values("state")
    rows = []
    for name in unit_files.known():
        state = unit_files.file_state(name) or "bad"
        matches = not call.names or any(fnmatch.fnmatchcase(name, pattern) for pattern in call.names)
        if matches and (not types or name.rpartition(".")[2] in types) and (not states or state in states):
            rows.append((name, state))
    width = max([len(name) for name, _ in rows], default=9)
    if not call.bare:
        call.console.print(f"{'UNIT FILE':<{width}} STATE    PRESET")
    for name, state in rows:
        call.console.print(f"{name:<{width}} {state:<8} {'-' if is_template(name) else 'enabled'}")
    if not call.bare:
        call.console.print(f"\n{len(rows)} unit files listed.")
    return 0 if rows or not call.names else 1


async def default(call: Call) -> int:
    call.console.print(call.manager.load("default.target").name)
    return 0


async def jobs(call: Call) -> int:
    for job in call.manager.jobs:
        state = "running" if job.running else "waiting"
        call.console.print(f"{job.id} {job.unit.name} {job.kind} {state}")
    if not call.manager.jobs:
        call.console.print("No jobs running.")
    return 0


async def timers(call: Call) -> int:
    rows = [("NEXT", "LAST", "UNIT", "ACTIVATES")]
    timers = [timer for timer in call.manager.timers() if timer.is_active or call.arguments.has("all")]
    for timer in sorted(timers, key=lambda timer: timer.next_at or float("inf")):
        following, last = (date_of(moment) or "-" for moment in (timer.next_at, timer.last_at))
        rows.append((following, last, timer.name, timer.rules.target))
    return _table(call, rows, "timers")


async def sockets(call: Call) -> int:
    rows = [("LISTEN", "UNIT", "ACTIVATES")]
    for unit in call.manager.everything():
        if isinstance(unit, SocketUnit) and unit.rules and (unit.is_active or call.arguments.has("all")):
            rows += [(address, unit.name, unit.rules.target) for _, address in unit.rules.addresses]
    return _table(call, rows, "sockets")


async def paths(call: Call) -> int:
    rows = [("PATH", "CONDITION", "UNIT", "ACTIVATES")]
    for unit in call.manager.everything():
        if isinstance(unit, PathUnit) and (unit.is_active or call.arguments.has("all")):
            rows += [(path, key, unit.name, str(unit.triggers)) for key, path in unit.rules]
    return _table(call, rows, "paths")


def _table(call: Call, rows: Sequence[tuple[str, ...]], what: str) -> int:
    """The first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows[1:] if call.bare else rows:
        call.console.print(" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not call.bare:
        call.console.print(f"\n{len(rows) - 1} {what} listed.")
    return 0


async def none(call: Call) -> int:
    """Of kinds that there are none of."""
    call.console.print(f"0 {call.arguments.rest[0].removeprefix('list-')} listed.")
    return 0


async def dependencies(call: Call) -> int:
    """As a tree: what a unit needs, and what that needs where it is a target or all is asked for."""
    keys: tuple[str, ...] = NEEDS
    if call.arguments.has("before") or call.arguments.has("after"):
        keys = ("Before",) if call.arguments.has("before") else ("After",)
    for name in call.units(needed=False) or ["default.target"]:
        unit = call.manager.load(name)
        call.console.print(unit.name)
        for line in _branches(call, unit.name, keys, "", {unit.name}):
            call.console.print(line)
    return 0


def _branches(call: Call, name: str, keys: tuple[str, ...], indent: str, seen: set[str]) -> Iterator[str]:
    """``seen``: each unit's own branches are shown once."""
    others = _neighbours(call, name, keys)
    plain = call.arguments.has("plain")
    for position, other in enumerate(others):
        last = position == len(others) - 1
        dot = DOTS.get(call.manager.load(other).active, "○")
        yield f"{indent}  {other}" if plain else f"{dot} {indent}{'└─' if last else '├─'}{other}"
        if other not in seen and (other.endswith(".target") or call.arguments.has("all")):
            seen.add(other)
            yield from _branches(call, other, keys, indent + ("  " if last or plain else "│ "), seen)


def _neighbours(call: Call, name: str, keys: tuple[str, ...]) -> list[str]:
    if not call.arguments.has("reverse"):
        return sorted(call.manager.load(name).related(*keys))
    return [unit.name for unit in call.manager.everything() if name in unit.related(*keys)]
