"""Moments as they can be kept."""

from datetime import UTC, datetime

from moonpool.errors import InvalidInput


def in_utc(moment: datetime, field: str) -> datetime:
    """The same moment in UTC; InvalidInput for one that another zone pushes out of the calendar's years."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{field}: a date between the years 1 and 9999 (UTC)", field=field) from error
