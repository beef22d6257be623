"""What ``OnCalendar=`` means. All in UTC, whatever this machine's zone."""

from datetime import UTC, datetime

import pytest

from moonpool.guest.agent.units.calendar import parse
from moonpool.guest.agent.units.syntax import BadSetting


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "now", "following"),
    [
        ("*-*-* 00:00:00 UTC", "2026-03-01T00:00:00", "2026-03-02T00:00:00"),
        ("*:0/15 UTC", "2026-03-01T10:14:59", "2026-03-01T10:15:00"),
        ("*:0/15 UTC", "2026-03-01T23:50:00", "2026-03-02T00:00:00"),
        ("Mon..Fri 09:30 UTC", "2026-03-06T09:30:00", "2026-03-09T09:30:00"),
        ("Sat,Sun *-*-* 12:00 UTC", "2026-03-02T00:00:00", "2026-03-07T12:00:00"),
        ("Fri..Mon 08:00 UTC", "2026-03-04T00:00:00", "2026-03-06T08:00:00"),
        ("*-02-29 UTC", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("12-25 18:00 UTC", "2026-12-26T00:00:00", "2027-12-25T18:00:00"),
        ("*-*-01,15 06..08:05:30 UTC", "2026-03-01T07:05:30", "2026-03-01T08:05:30"),
        ("2026-05-01 UTC", "2026-04-30T00:00:00", "2026-05-01T00:00:00"),
        ("*-1/3-1 UTC", "2026-03-01T00:00:00", "2026-04-01T00:00:00"),
    ],
)
def test_the_first_moment_after(text: str, now: str, following: str) -> None:
    assert parse(text).after(at(now)) == at(following)


@pytest.mark.parametrize("name", ["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "Daily"])
def test_names(name: str) -> None:
    now = at("2026-03-01T00:00:01")
    first = parse(name).after(now)
    assert first is not None
    assert first > now
    assert datetime.fromtimestamp(first).second == 0


def test_what_is_over() -> None:
    assert parse("2020-01-01 UTC").after(at("2026-01-01T00:00:00")) is None


@pytest.mark.parametrize("text", ["", "whenever", "25:00", "*-13-01", "10", "*:0/0", "Mon..Xyz", "*-*-*-*", "5..1:00"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(BadSetting):
        parse(text)
