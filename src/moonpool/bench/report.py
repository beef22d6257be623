"""What the figures are, as a table, as JSON, and as docs/benchmarks.md."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table

from moonpool.bench.figures import Figure

PERCENTILES = (50, 95, 99)


def ratio(figure: Figure, baseline: Figure, percent: int) -> str:
    """Only times compare with a time."""
    if figure.unit != "ms" or not figure.samples:
        return ""
    return f"{figure.percentile(percent) / baseline.percentile(50):.2f}"


def as_table(figures: Sequence[Figure], baseline: Figure) -> Table:
    table = Table("what", "unit", "n", "failed", "p50", "p95", "p99", "p50 / runsc", "p95 / runsc", "bar")
    for figure in figures:
        table.add_row(*row(figure, baseline))
    return table


def row(figure: Figure, baseline: Figure) -> list[str]:
    percentiles = [f"{figure.percentile(percent):.1f}" if figure.samples else "" for percent in PERCENTILES]
    ratios = [ratio(figure, baseline, 50), ratio(figure, baseline, 95)]
    return [figure.name, figure.unit, str(len(figure.samples)), str(figure.failures), *percentiles, *ratios, figure.bar]


def as_json(figures: Sequence[Figure], baseline: Figure) -> str:
    rows = [
        {
            "name": figure.name,
            "unit": figure.unit,
            "samples": len(figure.samples),
            "failures": figure.failures,
            **{f"p{percent}": round(figure.percentile(percent), 3) for percent in PERCENTILES if figure.samples},
            "ratio": ratio(figure, baseline, 50) or None,
            "bar": figure.bar or None,
        }
        for figure in figures
    ]
    return json.dumps({"machine": machine(), "figures": rows}, indent=2)


def as_markdown(figures: Sequence[Figure], baseline: Figure) -> str:
    heads = ("what", "unit", "n", "failed", "p50", "p95", "p99", "p50 / runsc", "p95 / runsc", "must")
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    lines += ["| " + " | ".join(row(figure, baseline)) + " |" for figure in figures]
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    return "\n".join(
        (
            "# Benchmarks",
            "",
            "Made by `moonpool bench --markdown docs/benchmarks.md`; do not edit. Ratios are to the median of plain",
            "`runsc --network=none do /bin/echo hi`, taken before each part of the same run, since machines differ and",
            "are noisy.",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}: {facts}",
            "",
            *lines,
            "",
        )
    )


def machine() -> dict[str, str]:
    version = subprocess.run(["runsc", "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "cores": str(os.cpu_count()),
        "kernel": platform.release().split("-")[0],
        "architecture": platform.machine(),
        "runsc": version.splitlines()[0].rpartition(" ")[2] if version else "missing",
        "python": platform.python_version(),
    }
