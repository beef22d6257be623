"""Units of a sandbox, for every dialect. No database on this path: what is there are the files inside."""

from collections.abc import Sequence
from typing import Any

from moonpool.access.model import Principal
from moonpool.processes.model import Sandboxes
from moonpool.processes.units.checks import check, check_patch, unit_name
from moonpool.processes.units.model import SUFFIX, LogLine, SetupResult, Unit, UnitPatch, UnitResult, UnitSpec
from moonpool.processes.units.render import render, render_patch

# Named here because the service has a method called "list".
Results = list[UnitResult]
Lines = list[LogLine]
PATCH = "50-patch.conf"  # the drop-in that a patch is written to


class UnitService:
    """Names may lack their suffix; ``.service`` is meant then. Every method needs the sandbox to run."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    async def create(self, principal: Principal, sandbox: str, spec: UnitSpec, *, start: bool = True) -> Unit:
        """Write its file under /etc/systemd/system, enable it where the spec says so, start it and wait for that.

        A start that fails is no error: the unit's state tells. Raises InvalidUnit, UnitExists.
        """
        await self.install(principal, sandbox, (spec,), start=start)
        return await self.get(principal, sandbox, spec.name)

    async def install(
        self,
        principal: Principal,
        sandbox: str,
        specs: Sequence[UnitSpec],
        patches: Sequence[UnitPatch] = (),
        *,
        start: bool = True,
    ) -> tuple[UnitResult, ...]:
        """Write many at once, then start those that are enabled, in the order that they ask of each other.

        Patched units are started again with their changes. Raises InvalidUnit, UnitExists (nothing is written then).
        """
        for spec in specs:
            check(spec)
        for patch in patches:
            check_patch(patch)
        files = [_file(unit_name(spec.name), render(spec), spec.enable) for spec in specs]
        files += [_file(f"{unit_name(patch.name)}.d/{PATCH}", render_patch(patch), patch.enable) for patch in patches]
        new = [unit_name(spec.name) for spec in specs if spec.enable]
        changed = [unit_name(patch.name) for patch in patches if patch.enable is not False]
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.units.write(files)
            if not start:
                return ()
            results = await session.agent.units.act("restart", [*changed, *new])
        return tuple(UnitResult(**result) for result in results)

    async def list(self, principal: Principal, sandbox: str) -> list[Unit]:
        """Service units that have a file or are running, by name."""
        async with self._sandboxes.session(principal, sandbox) as session:
            return [Unit(**unit) for unit in await session.agent.units.list()]

    async def get(self, principal: Principal, sandbox: str, name: str) -> Unit:
        """Raises UnitNotFound."""
        async with self._sandboxes.session(principal, sandbox) as session:
            return Unit(**await session.agent.units.get(unit_name(name)))

    async def delete(self, principal: Principal, sandbox: str, name: str) -> None:
        """Stop it, disable it and remove its file. Raises UnitNotFound."""
        async with self._sandboxes.session(principal, sandbox) as session:
            await session.agent.units.delete(unit_name(name))

    async def start(self, principal: Principal, sandbox: str, names: Sequence[str]) -> Results:
        """All in one go, in their order; answers when each is active, has ended or has failed."""
        return await self._act(principal, sandbox, "start", names)

    async def stop(self, principal: Principal, sandbox: str, names: Sequence[str]) -> Results:
        return await self._act(principal, sandbox, "stop", names)

    async def restart(self, principal: Principal, sandbox: str, names: Sequence[str]) -> Results:
        """Starts what does not run, too."""
        return await self._act(principal, sandbox, "restart", names)

    async def logs(
        self, principal: Principal, sandbox: str, name: str, *, lines: int | None = None, since: float | None = None
    ) -> Lines:
        """The journal, oldest first: the last ``lines``, from Unix time ``since`` on. Raises UnitNotFound."""
        async with self._sandboxes.session(principal, sandbox) as session:
            return [LogLine(**line) for line in await session.agent.units.logs(unit_name(name), lines, since)]

    async def journal(
        self, principal: Principal, sandbox: str, *, lines: int | None = None, since: float | None = None
    ) -> Lines:
        """As ``logs``, of all units together. Who reads it does not use the sandbox."""
        async with self._sandboxes.session(principal, sandbox, active=False) as session:
            return [LogLine(**line) for line in await session.agent.units.logs(None, lines, since)]

    async def settle(self, principal: Principal, sandbox: str, timeout: float | None) -> SetupResult:
        """Wait until everything that is enabled is active, has ended or has failed; at most ``timeout`` seconds."""
        async with self._sandboxes.session(principal, sandbox) as session:
            settled = await session.agent.units.settle(timeout)
            units = tuple(Unit(**unit) for unit in await session.agent.units.list())
        return SetupResult(settled, units, tuple(unit for unit in units if unit.failed))

    async def _act(self, principal: Principal, sandbox: str, action: str, names: Sequence[str]) -> Results:
        full = [unit_name(name) for name in names]
        async with self._sandboxes.session(principal, sandbox) as session:
            results = await session.agent.units.act(action, full)
        return [
            UnitResult(name, result["success"], result["message"]) for name, result in zip(names, results, strict=True)
        ]


def _file(name: str, text: str, enable: bool | None) -> dict[str, Any]:
    return {"name": name, "text": text, "enable": enable}


__all__ = ["SUFFIX", "UnitService"]
