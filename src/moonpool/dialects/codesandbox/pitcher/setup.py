"""The setup of a workspace: the steps of its tasks file, run one after the other, once for each disk.

How far it has come is written down in the sandbox, so that forks and templates take it along. A sandbox without steps
shows one that is done: a client that is shown none waits for ever.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from moonpool.dialects.codesandbox.pitcher.client import Client
from moonpool.dialects.codesandbox.pitcher.image import STEP, Recipe, build
from moonpool.dialects.codesandbox.pitcher.image import state_of as image_state
from moonpool.dialects.codesandbox.pitcher.params import DEFAULT_SIZE
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.dialects.codesandbox.pitcher.shell import Identity, Shell, Status
from moonpool.dialects.codesandbox.pitcher.shells import Shells
from moonpool.dialects.codesandbox.pitcher.taskfile import TaskFile
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.errors import FileNotFound, MoonpoolError
from moonpool.guest.client import AgentClient

RECORD = "/var/lib/codesandbox/setup.json"
RECORD_SIZE = 1 << 16  # bytes
# Seconds for which a question is kept waiting while steps run: the SDK takes the state that it is told at its connect
# for the last word on the whole setup, and follows single steps only. It gives up a request after 90.
PATIENCE = 20.0
EMPTY = ("Setup", "true")  # name and command of the step that stands for none
KEPT = 1 << 20  # characters of what a build has said

log = structlog.get_logger(__name__)

State = Literal["IDLE", "IN_PROGRESS", "FINISHED", "STOPPED"]
Finish = Literal["SUCCEEDED", "FAILED", "SKIPPED"]


@dataclass(eq=False)
class Step:
    """``waiting`` are clients that opened its shell before it began. One that builds ``image`` has no shell inside:
    ``said`` is what it would have shown."""

    name: str
    command: str
    shell_id: str
    finish: Finish | None = None
    waiting: set[Client] = field(default_factory=set)
    image: Recipe | None = None
    said: str = ""

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "command": self.command, "shellId": self.shell_id, "finishStatus": self.finish}


class Setup:
    """``load`` first. ``finished`` is called whenever the steps have come to an end, well or not."""

    def __init__(self, place: Place, shells: Shells, finished: Callable[[Grant], None]) -> None:
        self._place = place
        self._shells = shells
        self._finished = finished
        self._hash = ""
        self._image: tuple[str, str] | None = None  # hash and state
        self._steps: list[Step] = []
        self._state: State = "FINISHED"
        self._current = 0
        self.runner: asyncio.Task[None] | None = None
        self._ends: dict[str, asyncio.Future[Shell]] = {}
        shells.listen(self._ended)

    @property
    def busy(self) -> bool:
        return self.runner is not None and not self.runner.done()

    async def close(self) -> None:
        await cancel(self.runner)

    async def load(self, agent: AgentClient, file: TaskFile, recipe: Recipe | None = None) -> None:
        """Take over the steps of the file and what is written of them; nothing while they run. ``recipe``: of the image
        that all of them are to run in."""
        image = (recipe.hash, await image_state(self._place, recipe)) if recipe else None
        if self.busy or (self._steps and (self._hash, self._image) == (file.setup_hash, image)):
            return
        self._hash, self._image = file.setup_hash, image
        first = [self._image_step(recipe, image[1])] if recipe and image else []
        if image and image[1] != "there":
            self._steps, done = first, ["SUCCEEDED"] if first[0].finish else []
        else:
            named = [(step.name, step.command) for step in file.setup] or ([] if first else [EMPTY])
            ids = (f"setup-{self._hash}-{number}" for number in range(len(named)))
            steps = [Step(name, command, shell_id) for (name, command), shell_id in zip(named, ids, strict=True)]
            done = await self._read(agent) if file.setup else ["SUCCEEDED"] * len(steps)
            for step, finish in zip(steps, done, strict=False):
                step.finish = "FAILED" if finish == "FAILED" else "SUCCEEDED"
            self._steps, done = [*first, *steps], ["SUCCEEDED"] * len(first) + done
        self._current = min(len(done), len(self._steps) - 1)
        self._state = self._found_state()

    def _image_step(self, recipe: Recipe, state: str) -> Step:
        name, command = STEP
        step = Step(name, command, f"image-{recipe.hash}", image=recipe)
        step.finish = None if state == "absent" else "SUCCEEDED"
        step.said = "".join(known.said for known in self._steps if known.shell_id == step.shell_id)
        return step

    def _found_state(self) -> State:
        if any(step.finish == "FAILED" for step in self._steps):
            return "STOPPED"
        return "FINISHED" if all(step.finish for step in self._steps) else "IDLE"

    def begin(self, grant: Grant, *, again: bool = False) -> None:
        """Run what has not been run; with ``again`` also what has failed."""
        if self.busy or self._state == "FINISHED" or (self._state == "STOPPED" and not again):
            return
        self._state = "IN_PROGRESS"
        self.runner = asyncio.create_task(self._run(grant), name=f"setup of {self._place.sandbox_id}")

    # -- showing -------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        steps = [step.document() for step in self._steps]
        return {"state": self._state, "steps": steps, "currentStepIndex": self._current}

    async def settled(self) -> dict[str, Any]:
        """The state at the end of the steps, or after ``PATIENCE`` seconds."""
        if self.runner is not None:
            await asyncio.wait({self.runner}, timeout=PATIENCE)
        return self.document()

    def open(self, client: Client, shell_id: str) -> dict[str, Any]:
        """The shell of a step that has no process: it ended long ago, or did not begin yet. Raises Failure."""
        for step in self._steps:
            if step.shell_id == shell_id:
                if step.finish is None:
                    step.waiting.add(client)
                shown = [step.said] if step.said else []
                status = {None: Status.RUNNING, "FAILED": Status.ERROR}.get(step.finish, Status.FINISHED)
                ended = {"exitCode": 1 if step.finish == "FAILED" else 0} if step.finish else {}
                told = {"shellId": shell_id, "name": step.name, "status": status.value, **ended}
                return {**told, "shellType": "COMMAND", "startCommand": step.command, "buffer": shown}
        raise Failure(Code.SHELL_NOT_FOUND, "Shell not found")

    def leave(self, client: Client) -> None:
        for step in self._steps:
            step.waiting.discard(client)

    def _tell(self) -> None:
        self._place.tell_all("setup/progress", self.document())

    # -- running -------------------------------------------------------------------------------------------------------

    async def _run(self, grant: Grant) -> None:
        try:
            async with self._place.agent():  # Held for as long as it runs: the sandbox is in use.
                for number, step in enumerate(self._steps):
                    if step.finish != "SUCCEEDED":
                        await self._run_step(grant, number, step)
                    if step.finish == "FAILED":
                        break
        except (MoonpoolError, Failure) as error:
            log.info("setup_interrupted", sandbox=self._place.sandbox_id, reason=str(error))
            self._state = "STOPPED"
        else:
            self._state = self._found_state()
        self._tell()
        self._finished(grant)

    async def _run_step(self, grant: Grant, number: int, step: Step) -> None:
        self._current, step.finish = number, None
        self._tell()
        if step.image is not None:
            await self._build(grant, step, step.image)
            return
        end = self._ends[step.shell_id] = asyncio.get_running_loop().create_future()
        try:
            shell = next((one for one in self._shells.known() if one.id == step.shell_id), None)
            if shell is None or shell.status in (Status.ERROR, Status.KILLED):
                await self._start(grant, number, step)
            elif not shell.alive:  # It ended while nobody looked.
                end.set_result(shell)
            ended = await end
        finally:
            del self._ends[step.shell_id]
        step.finish = "SUCCEEDED" if ended.status is Status.FINISHED else "FAILED"
        await self._write()
        if number + 1 < len(self._steps):
            self._tell()

    async def _build(self, grant: Grant, step: Step, recipe: Recipe) -> None:
        def say(text: str) -> None:
            step.said = (step.said + text)[-KEPT:]
            for client in step.waiting:
                client.notify("shell/out", {"shellId": step.shell_id, "out": text})

        step.said = ""
        try:
            await build(self._place, grant, recipe, say)
            step.finish = "SUCCEEDED"
        except MoonpoolError as error:
            say(f"{error.message}\n")
            step.finish = "FAILED"
        code = 0 if step.finish == "SUCCEEDED" else 1
        ended = {"shellId": step.shell_id, "shellType": "COMMAND", "exitCode": code}
        self._place.tell_all("shell/exit", ended)

    async def _start(self, grant: Grant, number: int, step: Step) -> None:
        identity = Identity(
            id=step.shell_id,
            kind="COMMAND",
            name=step.name,
            owner=grant.user,
            home=grant.home,
            cwd=grant.workspace,
            command=step.command,
            system=True,
            step=number,
        )
        listeners, step.waiting = step.waiting, set()
        await self._shells.create(identity, DEFAULT_SIZE, *listeners)

    def _ended(self, shell: Shell) -> None:
        end = self._ends.get(shell.id)
        if end is not None and not end.done():
            end.set_result(shell)

    # -- what is written down ------------------------------------------------------------------------------------------

    async def _read(self, agent: AgentClient) -> list[str]:
        try:
            async with agent.read(RECORD, 0, RECORD_SIZE) as reader:
                record = json.loads(b"".join([piece async for piece in reader]))
            return [str(finish) for finish in record["steps"]] if record["hash"] == self._hash else []
        except (FileNotFound, ValueError, KeyError, TypeError, RecursionError):
            return []

    async def _write(self) -> None:
        finishes = [step.finish for step in self._steps if step.finish and step.image is None]
        record = {"hash": self._hash, "steps": finishes}
        async with self._place.agent() as agent, agent.write(RECORD, parents=True) as writer:
            await writer.write(json.dumps(record).encode())
