"""What a layer does inside a VM, in Freestyle's order: groups and users, packages, files, repositories, services."""

import asyncio
import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moonpool.dialects.freestyle.extensions import Layer
from moonpool.dialects.freestyle.files import decoded
from moonpool.dialects.freestyle.mapping import DEFAULT_FOLDER, READY_TIMEOUT
from moonpool.dialects.freestyle.requests import Call
from moonpool.dialects.freestyle.schemas import GitRepositorySpec
from moonpool.dialects.freestyle.units import bare, patches_of, specs_of
from moonpool.errors import GuestError, MoonpoolError
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec
from moonpool.processes.units.model import LogLine, Unit
from moonpool.processes.units.service import UnitService
from moonpool.sandboxes.model import Sandbox

APT_TIMEOUT = 900.0  # seconds
CLONE_TIMEOUT = 900.0  # seconds
LOG_LINES = 50  # of each failed service
ERROR_LENGTH = 2000  # characters of a failed program's last words

# Packages that are there already need no network.
APT = """\
missing=
for package in "$@"; do
  dpkg-query -W -f='${Status}' "${package%%[=/]*}" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -q update && apt-get -q install -y --no-install-recommends -- $missing
"""


class SetupFailed(MoonpoolError):
    """``diagnostics`` as the SDKs print them."""

    def __init__(self, reason: str, diagnostics: dict[str, Any] | None = None, *, late: bool = False) -> None:
        super().__init__(reason)
        self.diagnostics = diagnostics or {"serviceStates": [], "failedServiceLogs": []}
        self.late = late


@dataclass(frozen=True)
class Setup:
    """One layer's work in one VM. ``folder``: where relative paths begin."""

    call: Call
    sandbox: Sandbox
    layer: Layer
    folder: str = DEFAULT_FOLDER
    background: set["asyncio.Task[Any]"] = field(default_factory=set)

    async def run(self) -> None:
        """SetupFailed says what did not work; the VM is then as far as it came."""
        async with self.call.services.sandboxes.session(self.call.principal, self.sandbox.id) as session:
            agent = session.agent
            await self._users(agent)
            await self._packages(agent)
            await self._files(agent)
            await self._repositories(agent)
            if self.layer.workdir:
                await agent.mkdir(self.folder)
        await self._services()

    async def _users(self, agent: AgentClient) -> None:
        for group in self.layer.groups or ():
            await guarded(f"group {group.name}", agent.ensure_group(group.name, group.gid, system=bool(group.system)))
        for user in self.layer.users or ():
            made = agent.ensure_user(
                user.name,
                uid=user.uid,
                home=user.home,
                shell=user.shell,
                groups=user.groups or (),
                system=bool(user.system),
                full_name=user.gecos,
            )
            await guarded(f"user {user.name}", made)

    async def _packages(self, agent: AgentClient) -> None:
        if names := list(dict.fromkeys(self.layer.aptDeps or ())):
            argv = ("/bin/sh", "-c", APT, "apt", *names)
            await succeed(agent, argv, APT_TIMEOUT, f"apt-get install {' '.join(names)}")

    async def _files(self, agent: AgentClient) -> None:
        for name, file in (self.layer.additionalFiles or {}).items():
            content = decoded(file.content, file.encoding)
            path = posixpath.join(self.folder, name)
            mode = 0o755 if file.executable else 0o644
            try:
                async with agent.write(path, mode=mode, size=len(content)) as writer:
                    await writer.write(content)
            except GuestError as error:
                raise SetupFailed(f"file {path}: {error.message}") from error

    async def _repositories(self, agent: AgentClient) -> None:
        git = self.layer.git
        user = git.config.user if git and git.config else None
        settings = {"name": user.name, "email": user.email, "signingkey": user.signingkey} if user else {}
        for key, value in settings.items():
            if value is not None:
                # For everyone inside: it is the VM's, not one user's.
                argv = ("git", "config", "--system", f"user.{key}", value)
                await succeed(agent, argv, CLONE_TIMEOUT, f"git config user.{key}")
        for repository in (*(self.layer.gitRepos or ()), *((git.repos if git else None) or ())):
            await self._clone(agent, repository)

    async def _clone(self, agent: AgentClient, repository: GitRepositorySpec) -> None:
        path = posixpath.join(self.folder, repository.path)
        clone = f"git clone --quiet -- {shlex.quote(repository.repo)} {shlex.quote(path)}"
        if repository.rev:
            clone += f" && git -C {shlex.quote(path)} checkout --quiet {shlex.quote(repository.rev)} --"
        await succeed(agent, ("/bin/sh", "-c", clone), CLONE_TIMEOUT, f"git clone to {path}")

    # -- services ------------------------------------------------------------------------------------------------------

    async def _services(self) -> None:
        specs, patches = specs_of(self.layer.systemd), patches_of(self.layer.systemd)
        if not specs and not patches:
            return
        names = [bare(name) for name in (*(spec.name for spec in specs), *(patch.name for patch in patches))]
        service = UnitService(self.call.services.sandboxes)
        principal, vm_id = self.call.principal, self.sandbox.id
        if self.layer.waitForReadySignal is False:
            await service.install(principal, vm_id, specs, patches, start=False)
            enabled = [spec.name for spec in specs if spec.enable]
            started = asyncio.create_task(contained(service.start(principal, vm_id, enabled)))
            self.background.add(started)
            started.add_done_callback(self.background.discard)
            return
        seconds = self.layer.readySignalTimeoutSeconds
        seconds = READY_TIMEOUT if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                results = await service.install(principal, vm_id, specs, patches)
                result = await service.settle(principal, vm_id, seconds)
        except TimeoutError:
            raise await self._failure(service, names, {}, late=True) from None
        # A unit that could not even begin, as one of a cycle, is not failed in the manager's eyes.
        resting = {bare(unit.name) for unit in result.units if unit.active_state == "inactive"}
        refused = {bare(act.name): act.message for act in results if not act.success and bare(act.name) in resting}
        failed = [unit for unit in result.failed if bare(unit.name) in names]
        if failed or refused or not result.settled:
            raise await self._failure(service, names, refused, late=not (failed or refused))

    async def _failure(
        self, service: UnitService, names: Sequence[str], refused: Mapping[str, str], *, late: bool
    ) -> SetupFailed:
        """What the services were at when it went wrong, with the last lines of those that are to blame."""
        principal, vm_id = self.call.principal, self.sandbox.id
        units = [unit for unit in await service.list(principal, vm_id) if bare(unit.name) in names]
        waiting = ("activating", "inactive") if late else ()
        guilty = [unit for unit in units if unit.failed or unit.active_state in waiting or bare(unit.name) in refused]
        logs = []
        for unit in guilty:
            lines = await service.logs(principal, vm_id, unit.name, lines=LOG_LINES)
            logs.append({"unitName": unit.name, "log": joined(lines) or refused.get(bare(unit.name), "")})
        listed = ", ".join(bare(unit.name) for unit in guilty)
        reason = f"services that are not ready in time: {listed}" if late else f"failed services: {listed}"
        diagnostics = {
            "serviceStates": states(units),
            "failedServiceLogs": logs,
            "additionalFailedServiceLogs": [],
        }
        return SetupFailed(reason, diagnostics, late=late)


def states(units: Iterable[Unit]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for unit in units:
        groups.setdefault((unit.active_state, unit.sub_state), []).append(unit.name)
    return [
        {"activeState": active, "subState": sub, "services": services} for (active, sub), services in groups.items()
    ]


def joined(lines: Iterable[LogLine]) -> str:
    return "\n".join(line.message for line in lines)


async def guarded(what: str, work: Any) -> None:
    try:
        await work
    except MoonpoolError as error:
        raise SetupFailed(f"{what}: {error.message}") from error


async def contained(work: Any) -> None:
    """Nobody waits for this: how it went is in the services' own states."""
    try:
        await work
    except MoonpoolError:
        return


async def succeed(agent: AgentClient, argv: tuple[str, ...], timeout: float, what: str) -> None:
    spec = ProcessSpec(argv=argv, cwd="/", user="root", timeout=timeout, merge_output=True)
    try:
        result = await agent.run(spec)
    except GuestError as error:
        raise SetupFailed(f"{what}: {error.message}") from error
    if result.timed_out or result.exit_code:
        words = result.stdout.decode(errors="replace").strip()[-ERROR_LENGTH:]
        end = "took too long" if result.timed_out else f"ended with {result.exit_code}"
        raise SetupFailed(f"{what} {end}: {words}" if words else f"{what} {end}")
