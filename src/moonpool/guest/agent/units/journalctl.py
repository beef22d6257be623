"""The face of ``journalctl``: what is asked of it most, in its words and forms."""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from datetime import datetime

from . import syntax
from .console import Arguments, Console, Usage
from .journal import Journal, Line
from .manager import Manager
from .names import whole
from .unit_files import matching

SHORT = {
    "u": "unit", "n": "lines", "f": "follow", "o": "output", "S": "since", "U": "until", "r": "reverse", "b": "boot",
    "e": "pager-end", "x": "catalog", "q": "quiet", "p": "priority", "t": "identifier", "g": "grep", "a": "all",
    "l": "full", "k": "dmesg", "m": "merge", "D": "directory", "c": "cursor",
}  # fmt: skip
WITH_VALUE = frozenset(
    ("unit", "output", "since", "until", "priority", "identifier", "grep", "vacuum-size", "vacuum-time", "directory")
)
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FOLLOWED = 10  # lines before those to come
WAITING = 10_000  # lines for a slow reader; then the oldest go


async def run(manager: Manager, console: Console, words: list[str]) -> int:
    try:
        arguments = Arguments(_with_counts(words), SHORT, WITH_VALUE)
        return await _run(manager, console, arguments)
    except (Usage, syntax.BadSetting, ValueError) as error:
        console.complain(f"journalctl: {error}")
        return 1


def _with_counts(words: list[str]) -> list[str]:
    """``-n`` may stand alone, ``-n 5`` be two words, ``-n5`` one."""
    found: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word in ("-n", "--lines"):
            count = remaining.pop(0) if remaining and re.fullmatch(r"\+?\d+|all", remaining[0]) else "10"
            word = f"--lines={count}"
        elif re.fullmatch(r"-n(\+?\d+|all)", word):
            word = f"--lines={word[2:]}"
        found.append(word)
    return found


async def _run(manager: Manager, console: Console, arguments: Arguments) -> int:
    journal = manager.journal
    if arguments.has("disk-usage"):
        console.print(f"Archived and active journals take up {journal.usage() / (1 << 20):.1f}M in the file system.")
        return 0
    if any(arguments.has(name) for name in ("flush", "sync", "rotate", "vacuum-size", "vacuum-time")):
        journal.flush()
        return 0
    wanted = _units(journal, manager, arguments)
    test, form = _test(arguments), _form(arguments)
    count = arguments.value("lines", str(FOLLOWED) if arguments.has("follow") else "all")
    lines = [line for line in journal.read(wanted) if test(line)]
    if count != "all":
        number = int(count.removeprefix("+"))
        lines = lines[:number] if count.startswith("+") else lines[len(lines) - min(number, len(lines)) :]
    if arguments.has("reverse"):
        lines.reverse()
    for line in lines:
        console.print(form(line))
    if not lines and not arguments.has("quiet") and not arguments.has("follow") and form is not FORMS["cat"]:
        console.print("-- No entries --")
    if arguments.has("follow"):
        await _follow(journal, console, lambda line: (wanted is None or line.unit in wanted) and test(line), form)
    return 0


def _units(journal: Journal, manager: Manager, arguments: Arguments) -> list[str] | None:
    """The units that are meant; None for all."""
    patterns = arguments.options.get("unit", [])
    found: list[str] = []
    for pattern in patterns:
        if any(character in pattern for character in "*?["):
            found += matching({*journal.units(), *manager.units}, pattern)
        else:
            found.append(whole(pattern))
    return found if patterns else None


def _test(arguments: Arguments) -> Callable[[Line], bool]:
    since, until = (moment(arguments.value(name)) if arguments.has(name) else None for name in ("since", "until"))
    level = _level(arguments.value("priority")) if arguments.has("priority") else 7
    identifiers = arguments.options.get("identifier", [])
    pattern = re.compile(arguments.value("grep")) if arguments.has("grep") else None

    def test(line: Line) -> bool:
        at = line.time / 1e6
        return (
            (since is None or at >= since)
            and (until is None or at <= until)
            and line.priority <= level
            and (not identifiers or line.identifier in identifiers)
            and (pattern is None or pattern.search(line.message) is not None)
        )

    return test


def _level(text: str) -> int:
    name = text.rpartition("..")[2]
    if name.isdigit() and int(name) < len(PRIORITIES):
        return int(name)
    if name not in PRIORITIES:
        raise Usage(f"Unknown log level {name}")
    return PRIORITIES.index(name)


def moment(text: str, now: float | None = None) -> float:
    """Unix seconds of what people write: a date, "yesterday", "-5min", "10 minutes ago", "@seconds". ValueError."""
    now = time.time() if now is None else now
    text = text.strip()
    if text.startswith("@"):
        return float(text[1:])
    if text.startswith(("-", "+")) or text.endswith(" ago"):
        span = syntax.seconds(text.removesuffix(" ago").lstrip("+-"))
        return now + (span or 0.0) * (1 if text.startswith("+") else -1)
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    days = {"today": 0, "yesterday": -1, "tomorrow": 1}
    if text in days:
        return today.timestamp() + days[text] * 86400
    if text == "now":
        return now
    text = text.removesuffix(" UTC") + ("+00:00" if text.endswith(" UTC") else "")
    if re.match(r"\d{1,2}:", text):
        text = f"{today:%Y-%m-%d} {text}"
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(f"Failed to parse timestamp: {text[:100]}") from None


def _form(arguments: Arguments) -> Callable[[Line], str]:
    name = arguments.value("output", "short")
    if name not in FORMS:
        raise Usage(f"Unknown output format '{name}'.")
    return FORMS[name]


def _stamped(stamp: Callable[[Line], str]) -> Callable[[Line], str]:
    def form(line: Line) -> str:
        host = os.uname().nodename
        pid = f"[{line.pid}]" if line.pid else ""
        return f"{stamp(line)} {host} {line.identifier}{pid}: {line.message}"

    return form


def _short(line: Line) -> str:
    return f"{datetime.fromtimestamp(line.time // 1_000_000):%b %d %H:%M:%S}"


def _precise(line: Line) -> str:
    return f"{datetime.fromtimestamp(line.time / 1e6):%b %d %H:%M:%S.%f}"


def _iso(line: Line) -> str:
    return datetime.fromtimestamp(line.time // 1_000_000).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")


def _unix(line: Line) -> str:
    return f"{line.time / 1e6:.6f}"


def _json(line: Line) -> str:
    found = {
        "__REALTIME_TIMESTAMP": str(line.time),
        "MESSAGE": line.message,
        "PRIORITY": str(line.priority),
        "SYSLOG_IDENTIFIER": line.identifier,
        "_PID": str(line.pid),
        "_SYSTEMD_UNIT" if line.pid != 1 else "UNIT": line.unit,
        "_HOSTNAME": os.uname().nodename,
    }
    return json.dumps(found | ({"INVOCATION_ID": line.invocation} if line.invocation else {}))


FORMS: dict[str, Callable[[Line], str]] = {
    "cat": lambda line: line.message,
    "short": _stamped(_short),
    "short-full": _stamped(_iso),
    "short-iso": _stamped(_iso),
    "short-precise": _stamped(_precise),
    "short-unix": _stamped(_unix),
    "with-unit": _stamped(_iso),
    "json": _json,
}


async def _follow(
    journal: Journal, console: Console, test: Callable[[Line], bool], form: Callable[[Line], str]
) -> None:
    queue: asyncio.Queue[Line] = asyncio.Queue(WAITING)

    def follower(line: Line) -> None:
        if test(line):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(line)

    journal.followers.add(follower)
    try:
        while True:
            await console.flush()
            console.print(form(await queue.get()))
    finally:
        journal.followers.discard(follower)


def latest(journal: Journal, unit: str, count: int) -> list[str]:
    """The end of a unit's journal, as ``systemctl status`` shows it."""
    return [FORMS["short"](line) for line in journal.read([unit], lines=count)]
