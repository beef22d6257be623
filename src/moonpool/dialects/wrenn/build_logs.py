"""A build's log as Wrenn has it: an entry for each line of the recipe that was begun."""

import re
from typing import Any

from moonpool.builds.model import Build, BuildState
from moonpool.dialects.wrenn.recipes import DIALECT, steps_of

TITLE = re.compile(r"\[\S+ (\d+)/\d+\] ")
BEFORE = 1  # instructions of the Dockerfile that are no step: who runs the first one


def entries(build: Build, log: str) -> list[dict[str, Any]]:
    """``stdout`` has what both streams said, in order."""
    steps = steps_of(build.dialect_data[DIALECT]["recipe"])
    owners = [number for number, step in enumerate(steps, 1) for _line in step.instructions]
    said = outputs(log, [phase.name for phase in build.phases])
    found: dict[int, dict[str, Any]] = {}
    for index, phase in enumerate(build.phases):
        title = TITLE.match(phase.name)
        at = int(title[1]) - 1 - BEFORE if title else -1
        if not 0 <= at < len(owners):
            continue
        number = owners[at]
        following = build.phases[index + 1].started_at if index + 1 < len(build.phases) else build.finished_at
        entry = found.setdefault(number, new_entry(number, steps[number - 1].text))
        entry["stdout"] += said[index]
        last = index + 1 == len(build.phases)
        entry["ok"] = not last or build.state is BuildState.SUCCEEDED
        entry["exit"] = 0 if entry["ok"] else 1
        if following is not None:
            entry["elapsed_ms"] += int((following - phase.started_at).total_seconds() * 1000)
    return list(found.values())


def new_entry(number: int, text: str) -> dict[str, Any]:
    return {
        "step": number, "phase": "recipe", "cmd": text, "stdout": "", "stderr": "", "exit": 0, "ok": True,
        "elapsed_ms": 0,
    }  # fmt: skip


def outputs(log: str, titles: list[str]) -> list[str]:
    """What stands between the titles of phases, which are lines of the log."""
    found: list[str] = []
    rest = log
    for title in titles:
        before, mark, after = ("\n" + rest).partition(f"\n{title}\n")
        if not mark:
            found.append("")
            continue
        if found:
            found[-1] = before[1:]
        found.append("")
        rest = after
    if found:
        found[-1] = rest
    return found
