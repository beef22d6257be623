"""The whole benchmark, in the order in which its parts disturb each other least."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moonpool.bench import (
    archives,
    baseline,
    builds,
    codesandbox,
    desktop,
    engine,
    events,
    fork,
    freestyle,
    http,
    previews,
    pushes,
    sdk,
    states,
    tools,
    typing,
)
from moonpool.bench.calm import calm
from moonpool.bench.figures import Figure, together
from moonpool.bench.host import opened
from moonpool.bench.server import serving
from moonpool.engine.cgroups import Cgroups
from moonpool.engine.instance import Instance

BURST = 20  # creates at once
WARM_POOL = 4
REST_SECONDS = 20.0
BESIDE = 3  # runs of plain runsc before each part: the machine of the whole run is the yardstick, not of its start


@dataclass(frozen=True)
class Plan:
    """How often each thing is done."""

    runs: int = 100
    burst_rounds: int = 5
    resting: int = 50
    density: int = 200
    typing: float = 30.0  # seconds that connected clients type


QUICK = Plan(runs=10, burst_rounds=1, resting=5, density=10, typing=5.0)
Say = Callable[[str], None]


async def run(data: Path, plan: Plan, say: Say) -> tuple[list[Figure], Figure]:
    """Every figure, and the baseline they are compared with. ``data`` is absolute."""

    beside: list[Figure] = []

    async def begin(part: str) -> None:
        say(part)
        await calm()
        beside.append(await baseline.plain_runsc(BESIDE))

    await begin("engine alone")
    async with opened(data, WARM_POOL) as host:
        figures = await engine.engine_figures(host, plan.runs)
        await begin("forks")
        figures += await fork.fork_figures(host, max(5, plan.runs // 5))
        await begin("memory and files")
        figures += await states.state_figures(host, max(5, plan.runs // 5))
        await begin("archives")
        figures += await archives.archive_figures(host, data, max(2, plan.runs // 20))
        await begin("images and build steps")
        figures += await builds.engine_figures(host, data, plan.runs)
    async with serving(data, BURST) as server:
        await begin(f"{BURST} at once")
        figures.append(await http.burst(server, BURST, plan.burst_rounds))
    async with serving(data, WARM_POOL) as server:
        await begin("HTTP")
        figures += await http.http_figures(server, data, plan.runs)
        if sdk.installed():
            await begin("Daytona SDK")
            figures += await sdk.sdk_figures(server, plan.runs)
        await begin("previews")
        figures += await previews.preview_figures(server, data, plan.runs)
        await begin("tools")
        figures += await tools.tool_figures(server, plan.runs)
        await begin("Freestyle")
        figures += await freestyle.freestyle_figures(server, plan.runs)
        await begin("builds")
        figures += await builds.http_figures(server, max(5, plan.runs // 5))
        await begin("pushed images")
        figures += await pushes.push_figures(server, max(2, plan.runs // 20))
        await begin("CodeSandbox")
        figures += await codesandbox.codesandbox_figures(server, max(5, plan.runs // 5))
        await begin("typing clients")
        figures += await typing.typing_figures(server, plan.typing)
        await begin("listeners")
        figures += await events.event_figures(server)
        cgroups = Cgroups.open(Instance(data))
        await begin("at rest")
        figures += await http.rest(server, lambda: total_cpu(cgroups), plan.resting, REST_SECONDS)
        await begin("density")
        figures += await http.density(server, lambda: total_memory(cgroups), plan.density)
    await begin("desktop")
    figures += await desktop.desktop_figures(data, max(5, plan.runs // 5))
    plain = together(beside)
    return [plain, *figures], plain


async def run_typing(data: Path, seconds: float, say: Say) -> tuple[list[Figure], Figure]:
    """The connected clients alone, beside the baseline."""
    say("plain runsc")
    plain = await baseline.plain_runsc(5)
    async with serving(data, WARM_POOL) as server:
        say("typing clients")
        return [plain, *await typing.typing_figures(server, seconds)], plain


def total_cpu(cgroups: Cgroups) -> float:
    """Seconds of processor that all sandboxes have used."""
    return sum(cgroups.stats(name).cpu_microseconds for name in cgroups.names()) / 1e6


def total_memory(cgroups: Cgroups) -> int:
    """Bytes that all sandboxes hold now."""
    return sum(cgroups.stats(name).memory_bytes for name in cgroups.names())
