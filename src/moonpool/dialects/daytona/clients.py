"""Which SDK asks, where what it understands depends on its age."""

from starlette.datastructures import Headers

SDK_VERSION_HEADER = "x-daytona-sdk-version"

Version = tuple[int, ...]  # major and minor number
NEWEST: Version = (1_000_000,)


def sdk_version(headers: Headers) -> Version | None:
    """None for what is no SDK. One that was built from its sources, and so has no number, counts as the newest."""
    text = headers.get(SDK_VERSION_HEADER)
    if text is None:
        return None
    numbers = text.removeprefix("v").split(".")[:2]
    released = "dev" not in text and all(number.isdecimal() and len(number) < len("1000000") for number in numbers)
    return tuple(map(int, numbers)) if released else NEWEST
