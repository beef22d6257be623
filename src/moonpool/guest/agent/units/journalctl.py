"""The face of ``journalctl``: what is asked of it most, in its words and forms."""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime

from . import syntax
from .console import Arguments, Console, Usage
from .journal import Journal, Line
from .journal_forms import Form, Manner, fields, form
from .manager import Manager
from .names import whole
from .unit_files import matching

SHORT = {
    "u": "unit", "n": "lines", "f": "follow", "o": "output", "S": "since", "U": "until", "r": "reverse", "b": "boot",
    "e": "pager-end", "x": "catalog", "q": "quiet", "p": "priority", "t": "identifier", "g": "grep", "a": "all",
    "l": "full", "k": "dmesg", "m": "merge", "D": "directory", "c": "cursor", "N": "fields", "F": "field", "h": "help",
    "T": "exclude-identifier", "M": "machine", "i": "file",
}  # fmt: skip
WITH_VALUE = frozenset(
    ("unit", "output", "output-fields", "since", "until", "priority", "identifier", "exclude-identifier", "grep",
     "field", "vacuum-size", "vacuum-time", "vacuum-files")
)  # fmt: skip
KEEPING = frozenset(("flush", "sync", "rotate", "vacuum-size", "vacuum-time", "vacuum-files"))
KNOWN = WITH_VALUE | KEEPING | frozenset(
    ("lines", "follow", "reverse", "boot", "pager-end", "catalog", "quiet", "all", "full", "no-full", "dmesg", "merge",
     "fields", "help", "version", "no-pager", "no-tail", "no-hostname", "utc", "case-sensitive", "list-boots",
     "disk-usage", "system")
)  # fmt: skip
REFUSED = frozenset(
    ("user", "user-unit", "directory", "file", "root", "image", "machine", "namespace", "cursor", "after-cursor",
     "cursor-file", "show-cursor", "facility", "header", "verify", "interval", "setup-keys", "list-catalog",
     "dump-catalog", "update-catalog", "invocation", "list-invocations", "truncate-newline")
)  # fmt: skip
HELP = """journalctl [OPTIONS...] [FIELD=VALUE...]

  -u --unit=UNIT  -t --identifier=NAME  -p --priority=LEVEL[..LEVEL]  -g --grep=PATTERN
  -S --since=DATE  -U --until=DATE  -b --boot  -n --lines[=COUNT]  -r --reverse  -f --follow
  -o --output=FORM  --output-fields=LIST  --utc  --no-hostname  -N --fields  -F --field=NAME
  --list-boots  --disk-usage  --no-pager  -q --quiet"""
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FOLLOWED = 10  # lines before those to come
AT_THE_END = 1000  # lines with --pager-end
WAITING = 10_000  # lines for a slow reader; then the oldest go
NOTHING = "-- No entries --"
THIS_BOOT = ("", "0", "+0")
Test = Callable[[Line], bool]


async def run(manager: Manager, console: Console, words: list[str]) -> int:
    try:
        arguments = Arguments(_with_counts(words), SHORT, WITH_VALUE, KNOWN, REFUSED)
        return await _run(manager, console, arguments)
    except (Usage, syntax.BadSetting, ValueError) as error:
        console.complain(f"journalctl: {error}")
        return 1


def _with_counts(words: list[str]) -> list[str]:
    """``-n`` may stand alone, ``-n 5`` be two words, ``-n5`` one; ``-b`` likewise."""
    found: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        following = remaining[0] if remaining else ""
        if word in ("-n", "--lines"):
            count = remaining.pop(0) if re.fullmatch(r"\+?\d+|all", following) else str(FOLLOWED)
            word = f"--lines={count}"
        elif re.fullmatch(r"-n(\+?\d+|all)", word):
            word = f"--lines={word[2:]}"
        elif word == "-b" and re.fullmatch(r"[+-]?\d+|all|[0-9a-f]{32}", following):
            word = f"--boot={remaining.pop(0)}"
        elif re.fullmatch(r"-b([+-]?\d+|all|[0-9a-f]{32})", word):
            word = f"--boot={word[2:]}"
        found.append(word)
    return found


async def _run(manager: Manager, console: Console, arguments: Arguments) -> int:
    journal = manager.journal
    if _about_itself(manager, console, arguments):
        return 0
    wanted = _units(journal, manager, arguments)
    test, shown = _test(manager, arguments), _form(arguments)
    counting, count = not arguments.has("grep"), _count(arguments)
    lines = [line for line in journal.read(wanted) if test(line)]
    if counting and count.number is not None:
        lines = lines[: count.number] if count.first else lines[len(lines) - min(count.number, len(lines)) :]
    if arguments.has("reverse"):
        lines.reverse()
    tell = _teller(console, arguments, count, shown)
    for line in lines:
        tell(line)
    if not counting:
        console.caught_up()
    elif not lines and _says_nothing(arguments):
        console.print(NOTHING)
    if arguments.has("follow"):
        await _follow(journal, console, lambda line: (wanted is None or line.unit in wanted) and test(line), tell)
    return 0


def _about_itself(manager: Manager, console: Console, arguments: Arguments) -> bool:
    """Whether it was asked about the journal and not for lines; then it is done."""
    journal = manager.journal
    if arguments.has("help"):
        console.print(HELP)
    elif arguments.has("version"):
        console.print("systemd 252 (sandbox)")
    elif arguments.has("disk-usage"):
        console.print(f"Archived and active journals take up {journal.usage() / (1 << 20):.1f}M in the file system.")
    elif any(arguments.has(name) for name in KEEPING):
        journal.flush()  # It keeps within bounds by itself.
    elif arguments.has("list-boots"):
        began = datetime.fromtimestamp(manager.began).astimezone()
        console.print(f"IDX FIRST ENTRY\n  0 {began:%a %Y-%m-%d %H:%M:%S %Z}")
    elif arguments.has("fields"):
        for name in sorted({name for line in journal.read(None) for name in fields(line)}):
            console.print(name)
    elif arguments.has("field"):
        wanted = arguments.value("field")
        for value in sorted({fields(line).get(wanted, "") for line in journal.read(None)} - {""}):
            console.print(value)
    else:
        return False
    return True


class Count:
    """How many lines; ``number`` None for all. ``first``: of the oldest, else of the newest."""

    def __init__(self, text: str) -> None:
        if not re.fullmatch(r"\+?\d{1,9}|all", text):
            raise Usage(f"Failed to parse lines '{text[:100]}'")
        self.number = None if text == "all" else int(text.removeprefix("+"))
        self.first = text.startswith("+")


def _count(arguments: Arguments) -> Count:
    usual = "all"
    if arguments.has("pager-end"):
        usual = str(AT_THE_END)
    if arguments.has("follow"):
        usual = "all" if arguments.has("no-tail") else str(FOLLOWED)
    return Count(arguments.value("lines", usual))


def _says_nothing(arguments: Arguments) -> bool:
    return not arguments.has("quiet") and not arguments.has("follow") and arguments.value("output") != "cat"


def _teller(console: Console, arguments: Arguments, count: Count, shown: Form) -> Callable[[Line], None]:
    """How a line is told: printed, or offered to a caller that searches."""
    if not arguments.has("grep"):
        return lambda line: console.print(shown(line))
    pattern, case = arguments.value("grep"), arguments.value("case-sensitive", "")
    # As journalctl has it: a pattern without capitals means both, unless it was said.
    ignore = pattern == pattern.lower() if not arguments.has("case-sensitive") else bool(case) and not syntax.flag(case)
    rule = {
        "pattern": pattern,
        "ignore_case": ignore,
        "lines": count.number,
        "first": count.first is not arguments.has("reverse"),
        "nothing": f"{NOTHING}\n" if _says_nothing(arguments) else "",
    }
    console.search(rule)
    return lambda line: console.offer(line.message, shown(line))


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


def _test(manager: Manager, arguments: Arguments) -> Test:
    since, until = (moment(arguments.value(name)) if arguments.has(name) else None for name in ("since", "until"))
    if arguments.has("boot") or arguments.has("dmesg"):
        since = max(since or 0.0, _boot(manager, arguments.value("boot")))
    levels = _levels(arguments.value("priority")) if arguments.has("priority") else range(8)
    identifiers, others = (arguments.options.get(name, []) for name in ("identifier", "exclude-identifier"))
    matches = _matches(arguments.rest)
    kernel = arguments.has("dmesg")  # whose messages a sandbox has none of

    def test(line: Line) -> bool:
        at = line.time / 1e6
        return (
            not kernel
            and (since is None or at >= since)
            and (until is None or at <= until)
            and line.priority in levels
            and (not identifiers or line.identifier in identifiers)
            and line.identifier not in others
            and matches(line)
        )

    return test


def _boot(manager: Manager, which: str) -> float:
    """When it began. Those before have left nothing to know them by."""
    if which == "all":
        return 0.0
    if which not in THIS_BOOT:
        raise Usage(f"Data from the specified boot ({which[:40]}) is not available: No such boot ID in journal")
    return manager.began


def _matches(words: list[str]) -> Test:
    """FIELD=VALUE: values of one field are alternatives, fields must all match, a plus divides alternatives."""
    groups: list[dict[str, set[str]]] = [{}]
    for word in words:
        name, sign, value = word.partition("=")
        if word == "+":
            groups.append({})
        elif word.startswith("/"):
            groups[-1].setdefault("_EXE", set()).add(word)
        elif not sign or not re.fullmatch("[A-Z0-9_]+", name):
            raise Usage(f"Failed to add match '{word[:100]}': Invalid argument")
        else:
            groups[-1].setdefault(name, set()).add(value)
    wanted = [group for group in groups if group]
    if not wanted:
        return lambda line: True

    def test(line: Line) -> bool:
        found = fields(line)
        return any(all(found.get(name) in values for name, values in group.items()) for group in wanted)

    return test


def _levels(text: str) -> range:
    """One level stands for all that are worse, too."""
    lowest, sign, highest = text.rpartition("..")
    ends = sorted((_level(lowest) if sign else 0, _level(highest)))
    return range(ends[0], ends[1] + 1)


def _level(name: str) -> int:
    if name.isdigit() and int(name) < len(PRIORITIES):
        return int(name)
    if name not in PRIORITIES:
        raise Usage(f"Unknown log level {name[:100]}")
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


def _form(arguments: Arguments) -> Form:
    chosen = tuple(arguments.values("output-fields"))
    return form(
        arguments.value("output", "short"), Manner(arguments.has("utc"), not arguments.has("no-hostname"), chosen)
    )


async def _follow(journal: Journal, console: Console, test: Test, tell: Callable[[Line], None]) -> None:
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
            tell(await queue.get())
    finally:
        journal.followers.discard(follower)


def latest(journal: Journal, unit: str, count: int) -> list[str]:
    """The end of a unit's journal, as ``systemctl status`` shows it."""
    short = form("short", Manner())
    return [short(line) for line in journal.read([unit], lines=count)]
