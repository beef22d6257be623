"""Samples and what is told of them."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Figure:
    """One row: ``samples`` in ``unit``, how many attempts failed, and the bar it is held to (empty: none)."""

    name: str
    unit: str
    samples: tuple[float, ...]
    failures: int = 0
    bar: str = ""

    def percentile(self, percent: float) -> float:
        """Nearest rank; NaN where nothing succeeded."""
        if not self.samples:
            return math.nan
        ordered = sorted(self.samples)
        return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


async def sample(
    name: str, runs: int, action: Callable[[], Awaitable[float | None]], *, bar: str = "", unit: str = "ms"
) -> Figure:
    """``runs`` samples one after the other. ``action`` may return its own figure; else its time is taken."""
    samples: list[float] = []
    failures = 0
    for _ in range(runs):
        started = time.perf_counter()
        try:
            own = await action()
        except Exception:  # noqa: BLE001 - whatever goes wrong is a failure that the report counts
            failures += 1
            continue
        samples.append(milliseconds_since(started) if own is None else own)
    return Figure(name, unit, tuple(samples), failures, bar)


def together(figures: Sequence[Figure]) -> Figure:
    """One row of those that are about the same, taken at different times."""
    samples = tuple(sample for figure in figures for sample in figure.samples)
    return replace(figures[0], samples=samples, failures=sum(figure.failures for figure in figures))


def milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def flatten(figures: Sequence[Figure | Sequence[Figure]]) -> list[Figure]:
    return [one for figure in figures for one in ([figure] if isinstance(figure, Figure) else figure)]
