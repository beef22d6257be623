"""Moments as ``OnCalendar=`` names them: ``Mon..Fri *-*-* 09:00``, ``*:0/15``, ``daily``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from .syntax import BadSetting

NAMED = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FIRST_YEAR, LAST_YEAR = 1970, 2199
FARTHEST = 366 * 28  # days that are looked through: the 29th of February on a certain weekday is that far away


@dataclass(frozen=True)
class Calendar:
    """Sets of what may be; ``utc``: in universal time, else in the machine's own."""

    weekdays: frozenset[int]
    years: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    times: tuple[time, ...]
    utc: bool = False

    def after(self, moment: float) -> float | None:
        """The first of its moments later than ``moment``, in Unix seconds; None where there is none."""
        zone = UTC if self.utc else None
        start = datetime.fromtimestamp(moment, zone)
        for day in self._dates(start.date()):
            for each in self.times:
                found = datetime.combine(day, each, zone).timestamp()
                if found > moment:
                    return found
        return None

    def _dates(self, day: date) -> Iterator[date]:
        for _ in range(FARTHEST):
            if day.year > LAST_YEAR:
                return
            fits = day.year in self.years and day.month in self.months and day.day in self.days
            if fits and day.weekday() in self.weekdays:
                yield day
            day += timedelta(days=1)


def parse(text: str) -> Calendar:
    """BadSetting for what is none, or is of a kind that is not known here."""
    try:
        return _parse(NAMED.get(text.strip().lower(), text.strip()))
    except (ValueError, IndexError):
        raise BadSetting(f"Failed to parse calendar specification, ignoring: {text[:100]}") from None


def _parse(text: str) -> Calendar:
    words = text.split()
    if not words:
        raise ValueError(text)
    utc = bool(words) and words[-1] == "UTC"
    words = words[:-1] if utc else words
    weekdays = frozenset(range(7))
    if words and words[0][0].isalpha():
        weekdays = frozenset(_weekdays(words.pop(0)))
    day, clock = "*-*-*", "00:00:00"
    for word in words:
        if ":" in word:
            clock = word
        elif "-" in word:
            day = word
        else:
            raise ValueError(word)
    parts = day.split("-")
    year, month, number = parts if len(parts) == 3 else ["*", *parts]
    return Calendar(
        weekdays,
        _numbers(year, FIRST_YEAR, LAST_YEAR),
        _numbers(month, 1, 12),
        _numbers(number, 1, 31),
        tuple(_times(clock)),
        utc,
    )


def _times(text: str) -> Iterable[time]:
    parts = text.split(":")
    hours, minutes, seconds = parts if len(parts) == 3 else [*parts, "00"]
    return [
        time(hour, minute, second)
        for hour in sorted(_numbers(hours, 0, 23))
        for minute in sorted(_numbers(minutes, 0, 59))
        for second in sorted(_numbers(seconds, 0, 59))
    ]


def _numbers(text: str, least: int, most: int) -> frozenset[int]:
    """``*``, numbers, ranges and repetitions, with commas between."""
    found: set[int] = set()
    for part in text.split(","):
        body, _, step = part.partition("/")
        first, dots, last = body.partition("..")
        if body == "*":
            first, last = str(least), str(most)
        elif step and not dots:
            last = str(most)
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    if not found or min(found) < least or max(found) > most:
        raise ValueError(text)
    return frozenset(found)


def _weekdays(text: str) -> Iterator[int]:
    for part in text.rstrip(",").split(","):
        first, dots, last = part.partition("..")
        begin = DAYS.index(first[:3].lower())
        end = DAYS.index(last[:3].lower()) if dots else begin
        yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))
