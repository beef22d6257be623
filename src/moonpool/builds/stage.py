"""Carrying out one stage of a Dockerfile, an instruction at a time, on layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from e2b_dockerfile_utils import ShellLex

from moonpool.builds.cache import key_of
from moonpool.builds.dockerfile import (
    Dockerfile,
    Instruction,
    Stage,
    absolute,
    argument_values,
    expanded,
    parse,
    predefined,
)
from moonpool.builds.dockerfile import split as split_words
from moonpool.builds.machine import Command
from moonpool.builds.model import Layer
from moonpool.builds.settings import configured
from moonpool.engine.images.oci import ImageConfig
from moonpool.engine.images.oci.copying import Placement, Selection

SHELL = ("/bin/sh", "-c")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
ALWAYS = frozenset({*PROXIES, *(name.lower() for name in PROXIES)})
"""Arguments that a Dockerfile need not declare."""
PASSED_OVER_MOUNTS = frozenset({"cache", "tmpfs"})


@dataclass(frozen=True)
class Result:
    """What a stage has become: ``layer`` is its disk, ``key`` what that is known by."""

    layer: str
    key: str
    config: ImageConfig


class Steps(Protocol):
    """What a stage asks for to be done; each answers with the layer, out of the cache or made."""

    async def phase(self, name: str) -> None: ...

    async def base(self, name: str, line: int) -> Result: ...

    async def stage(self, number: int) -> Result: ...

    async def files(self, contents: Mapping[str, str]) -> Layer: ...

    async def context(self) -> Layer: ...

    async def run(self, parent: str, key: str, command: Command) -> Layer: ...

    async def digest(self, source: str, selection: Selection) -> tuple[str, bool]: ...

    async def copy(self, parent: str, key: str, source: str, selection: Selection, placement: Placement) -> Layer: ...

    async def folders(self, parent: str, key: str, folders: tuple[str, ...]) -> Layer: ...

    def say(self, text: str) -> None: ...


@dataclass
class StageRun:
    """``given`` are the arguments of the one who builds."""

    file: Dockerfile
    number: int
    given: Mapping[str, str]
    steps: Steps
    layer: str = ""
    key: str = ""
    config: ImageConfig = field(default_factory=ImageConfig)
    arguments: dict[str, str] = field(default_factory=dict)
    line: int = 0
    _own_command: bool = False

    async def run(self) -> Result:
        stage = self.file.stages[self.number]
        base = await self._base(stage)
        self.layer, self.key = base.layer, base.key
        environment = {"PATH": PATH, **base.config.env}
        self.config = replace(base.config, env=environment, onbuild=())
        self.arguments = {name: value for name, value in self.given.items() if name in ALWAYS}
        inherited = self._onbuild(base.config, stage.line)
        for at, instruction in enumerate((*inherited, *stage.instructions), 1):
            self.line = instruction.line
            title = f"[{stage.name or self.number} {at}/{len(inherited) + len(stage.instructions)}] {instruction.text}"
            await self.steps.phase(title[:300])
            await self._do(instruction)
        return Result(self.layer, self.key, self.config)

    async def _base(self, stage: Stage) -> Result:
        earlier = self.file.find(stage.base, self.number) if not stage.base.isdigit() else None
        if earlier is not None:
            return await self.steps.stage(earlier)
        await self.steps.phase(f"FROM {stage.base}")
        return await self.steps.base(stage.base, stage.line)

    def _onbuild(self, config: ImageConfig, line: int) -> tuple[Instruction, ...]:
        """What the base image wants to be done in images that are built on it."""
        if not config.onbuild:
            return ()
        text = "FROM scratch\n" + "\n".join(config.onbuild)
        return tuple(replace(each, line=line) for each in parse(text, {}).stages[0].instructions)

    async def _do(self, instruction: Instruction) -> None:
        match instruction.name:
            case "RUN":
                await self._run(instruction)
            case "COPY" | "ADD":
                await self._copy(instruction)
            case "WORKDIR":
                await self._workdir(instruction)
            case "ARG":
                self._arg(instruction)
            case _:
                before = self.config
                self.config = configured(before, instruction, self._word, self._words, before.shell or SHELL)
                self._own_command = self._own_command or instruction.name == "CMD"
                if instruction.name == "ENTRYPOINT" and self._own_command:  # Only the base image's is dropped.
                    self.config = replace(self.config, cmd=before.cmd)

    # -- words -----------------------------------------------------------------------------------------------------

    @property
    def _variables(self) -> dict[str, str]:
        return {**self.arguments, **self.config.env}

    def _word(self, instruction: Instruction, word: str) -> str:
        return expanded(instruction, word, self.file.escape, self._variables)

    def _words(self, instruction: Instruction, word: str) -> list[str]:
        return split_words(instruction, word, self.file.escape, self._variables)

    def _arg(self, instruction: Instruction) -> None:
        """One without a value has that of the file's beginning, or what every build knows."""
        known = {**predefined(), **self.file.arguments}
        for name, value in argument_values(instruction, self.file.escape, self._variables, self.given):
            resolved = value if value is not None else known.get(name)
            if resolved is not None:
                self.arguments[name] = resolved

    # -- what changes the disk -------------------------------------------------------------------------------------

    async def _run(self, instruction: Instruction) -> None:
        network = instruction.flag("network") or "default"
        if network not in ("default", "none"):
            raise instruction.wrong(f"RUN --network={network} is not supported", hint="Use default or none.")
        if instruction.flag("security") == "insecure":
            raise instruction.wrong("RUN --security=insecure is not supported: every step runs in a sandbox")
        for mount in instruction.flags.get("mount", ()):
            self._mount(instruction, mount)
        environment = self._variables
        argv = self._argv(instruction)
        shown = f"Dockerfile line {instruction.line}: RUN {' '.join(instruction.text.split()[1:])}"[:200]
        command = Command(argv, self.config, environment, network == "default", shown)
        self.key = key_of("run", self.key, argv, environment, self.config.user, self.config.workdir, network)
        self.layer = (await self.steps.run(self.layer, self.key, command)).id

    def _mount(self, instruction: Instruction, mount: str) -> None:
        settings = dict(part.partition("=")[::2] for part in mount.split(","))
        kind = settings.get("type", "bind")
        if kind not in PASSED_OVER_MOUNTS:
            raise instruction.wrong(
                f"RUN --mount=type={kind} is not supported", hint="COPY the files, or fetch them in the step itself."
            )
        self.steps.say(f"line {instruction.line}: the {kind} mount is an ordinary folder here")

    def _argv(self, instruction: Instruction) -> tuple[str, ...]:
        if instruction.exec_form:
            if not instruction.words:
                raise instruction.wrong("RUN needs a command")
            return instruction.words
        text = instruction.words[0] if instruction.words else ""
        if not text.strip():
            raise instruction.wrong("RUN needs a command")
        shell = self.config.shell or SHELL
        if not instruction.heredocs:
            return (*shell, text)
        alone = len(instruction.heredocs) == 1 and text.strip().startswith("<<") and len(text.split()) == 1
        content = instruction.heredocs[0].content
        if not alone:
            documents = "".join(f"\n{each.content}{each.name}" for each in instruction.heredocs)
            return (*shell, text + documents)
        if content.startswith("#!"):
            return ("/bin/sh", "-c", SCRIPT, "sh", content)
        return (*shell, content)

    async def _copy(self, instruction: Instruction) -> None:
        words = list(instruction.words)
        named = [word for word in words[:-1] if word.lstrip("\"'").startswith("<<")] if instruction.heredocs else []
        expanded_words = [word if word in named else self._word(instruction, word) for word in words]
        if len(words) < 2 or not all(expanded_words):
            raise instruction.wrong(f"{instruction.name} needs at least a source and a destination")
        *sources, destination = expanded_words
        target = absolute(self.config.workdir or "/", destination)
        if instruction.heredocs:
            await self._copy_heredocs(instruction, target, destination)
        sources = [source for source in sources if source not in named]
        if sources:
            await self._copy_files(instruction, sources, destination, target)

    async def _copy_heredocs(self, instruction: Instruction, target: str, destination: str) -> None:
        contents = {}
        for heredoc in instruction.heredocs:
            text = heredoc.content
            contents[heredoc.name] = self._heredoc(instruction, text) if heredoc.expand else text
        layer = await self.steps.files(contents)
        folder = destination.endswith("/") or len(contents) > 1
        await self._place(instruction, layer.id, tuple(sorted(contents)), target, folder, owned=False)

    def _heredoc(self, instruction: Instruction, text: str) -> str:
        lex = ShellLex(
            self.file.escape,
            raw_quotes=True,
            raw_escapes=True,
            skip_process_quotes=True,
            env=self._variables,
            skip_unset_env=False,
        )
        try:
            return lex.process_word(text)
        except ValueError as error:
            raise instruction.wrong(str(error)) from error

    async def _copy_files(self, instruction: Instruction, sources: list[str], destination: str, target: str) -> None:
        remote = next((source for source in sources if "://" in source or source.startswith("git@")), None)
        if instruction.name == "ADD" and remote is not None:
            raise instruction.wrong(
                f"ADD of {remote} is not supported",
                hint="Fetch it with RUN and curl or git: steps run in a sandbox.",
            )
        origin = instruction.flag("from")
        source = (await self.steps.context()).id if origin is None else await self._origin(instruction, origin)
        folder = destination.endswith(("/", "/.")) or destination == "." or len(sources) > 1
        await self._place(instruction, source, tuple(sources), target, folder, owned=origin is not None)

    async def _origin(self, instruction: Instruction, origin: str) -> str:
        name = expanded(instruction, origin, self.file.escape, self._variables)
        number = self.file.find(name, self.number)
        if number is not None:
            return (await self.steps.stage(number)).layer
        return (await self.steps.base(name, instruction.line)).layer

    async def _place(
        self,
        instruction: Instruction,
        source: str,
        patterns: tuple[str, ...],
        target: str,
        folder: bool,
        *,
        owned: bool,
    ) -> None:
        owner, mode = instruction.flag("chown"), instruction.flag("chmod")
        owner = None if owner is None else self._word(instruction, owner)
        selection = Selection(patterns, owned, instruction.name == "ADD", self._mode(instruction, mode))
        digest, single = await self.steps.digest(source, selection)
        placement = Placement(target, single and not folder, owner)
        self.key = key_of("copy", self.key, digest, vars(placement))
        self.layer = (await self.steps.copy(self.layer, self.key, source, selection, placement)).id

    def _mode(self, instruction: Instruction, mode: str | None) -> int | None:
        if mode is None:
            return None
        text = self._word(instruction, mode)
        if not text.isdigit() or len(text) > 5 or any(digit in "89" for digit in text):
            raise instruction.wrong(f"--chmod takes an octal number, not {text!r}")
        return int(text, 8)

    async def _workdir(self, instruction: Instruction) -> None:
        word = self._word(instruction, instruction.words[0]) if instruction.words else ""
        if not word:
            raise instruction.wrong("WORKDIR needs a folder")
        folder = absolute(self.config.workdir or "/", word)
        self.config = replace(self.config, workdir=folder)
        self.key = key_of("folder", self.key, folder)
        self.layer = (await self.steps.folders(self.layer, self.key, (folder,))).id


SCRIPT = 'f=/tmp/.heredoc.$$; printf "%s" "$1" > "$f" && chmod 700 "$f" && "$f"; r=$?; rm -f "$f"; exit $r'
