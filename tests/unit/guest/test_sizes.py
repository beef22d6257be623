"""The figures of a sandbox, made from those of its kernel."""

from moonpool.guest.agent import sizes

MEMINFO = b"""MemTotal:       24684092 kB
MemFree:        24584092 kB
MemAvailable:   24584092 kB
Cached:            15380 kB
"""
STAT = b"cpu  0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\nctxt 7\nbtime 5\n"


def figures(text: bytes) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1]) for line in text.decode().splitlines()}


def test_memory_that_is_used_is_taken_from_the_limit() -> None:
    found = figures(sizes._memory_figures(MEMINFO, 1 << 30))
    left = (1 << 20) - 100_000
    assert found == {"MemTotal": 1 << 20, "MemFree": left, "MemAvailable": left, "Cached": 15380}


def test_nothing_is_free_beyond_the_limit() -> None:
    assert figures(sizes._memory_figures(MEMINFO, 1 << 20))["MemFree"] == 0


def test_processors_that_are_not_the_sandboxs_are_not_named() -> None:
    text = b"processor\t: 0\nflags: a\n\nprocessor\t: 1\nflags: a\n\n"
    assert sizes._first_processors(text, 1) == b"processor\t: 0\nflags: a\n\n"
    assert sizes._first_processors(text, 2) == text


def test_times_are_spread_over_the_processors() -> None:
    lines = sizes._times(STAT, 2, used=3.0, passed=10.0).decode().splitlines()
    assert [line.split()[:5] for line in lines[:3]] == [
        ["cpu", "300", "0", "0", "1700"],
        ["cpu0", "150", "0", "0", "850"],
        ["cpu1", "150", "0", "0", "850"],
    ]
    assert lines[3:] == ["ctxt 7", "btime 5"]
