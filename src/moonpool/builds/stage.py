"""Carrying out one stage of a Dockerfile, an instruction at a time, on layers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
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
from moonpool.builds.expansion import check_expansion
from moonpool.builds.machine import Command
from moonpool.builds.model import Layer
from moonpool.builds.mounts import StepMount, Wanted, wanted
from moonpool.builds.remotes import Remote, is_remote, remote_of
from moonpool.builds.settings import configured
from moonpool.engine.images.oci import ImageConfig
from moonpool.engine.images.oci.copying import Placement, Selection

SHELL = ("/bin/sh", "-c")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
ALWAYS = frozenset({*PROXIES, *(name.lower() for name in PROXIES)})
"""Arguments that a Dockerfile need not declare."""
OCTAL_MODE = re.compile(r"[0-7]{1,5}")
SYMBOLIC_MODE = re.compile(r"[ugoa]*(?:[-+=][rwxXst]*)+(?:,[ugoa]*(?:[-+=][rwxXst]*)+)*")


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

    async def fetched(self, remote: Remote, shown: str) -> Layer: ...

    async def run(self, parent: str, key: str, command: Command) -> Layer: ...

    async def digest(self, source: str, selection: Selection) -> tuple[str, bool]: ...

    async def copy(self, parent: str, key: str, source: str, selection: Selection, placement: Placement) -> Layer: ...

    async def folders(self, parent: str, key: str, folders: tuple[str, ...], owner: str | None) -> Layer: ...

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
        stage = self.file.stages[self.number].name or "default"
        known = {**predefined(), "TARGETSTAGE": stage, **self.file.arguments}
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
        asked = wanted(instruction, partial(self._word, instruction), self.config.workdir or "/")
        mounts, known = [], []
        for each in asked:
            mount, digest = await self._mount(instruction, each)
            mounts.append(mount)
            known.append([each.kind, each.target, each.id, digest])
        environment = self._variables
        argv = self._argv(instruction)
        shown = f"Dockerfile line {instruction.line}: RUN {' '.join(instruction.text.split()[1:])}"[:200]
        command = Command(argv, self.config, environment, network == "default", shown, tuple(mounts))
        parts = [argv, environment, self.config.user, self.config.workdir, network, *([known] if known else [])]
        self.key = key_of("run", self.key, *parts)
        self.layer = (await self.steps.run(self.layer, self.key, command)).id

    async def _mount(self, instruction: Instruction, asked: Wanted) -> tuple[StepMount, str]:
        """With a digest of what is to be seen there, as far as it decides what the step does."""
        target, mode, owner = asked.target, asked.mode, asked.owner
        if asked.kind == "tmpfs" or (asked.kind == "cache" and asked.origin is None):
            cache = key_of("cache mount", asked.id) if asked.kind == "cache" else None
            return StepMount(target, read_only=asked.read_only, cache=cache, mode=mode, owner=owner), ""
        source = (
            (await self.steps.context()).id if asked.origin is None else await self._origin(instruction, asked.origin)
        )
        digest, single = source, False  # All of a layer is known by its name.
        if asked.source != "/":
            digest, single = await self.steps.digest(source, Selection((asked.pattern,), owned=True))
        if asked.kind == "cache":
            cache = key_of("cache mount", asked.id, digest)
            return StepMount(target, source, asked.source, None, asked.read_only, cache, mode, owner), digest
        folder, _, name = asked.source.rpartition("/") if single else (asked.source, "", "")
        return StepMount(target, source, folder, name or None, asked.read_only), digest

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
            check_expansion(text, self._variables)
            return lex.process_word(text)
        except ValueError as error:
            raise instruction.wrong(str(error)) from error

    async def _copy_files(self, instruction: Instruction, sources: list[str], destination: str, target: str) -> None:
        folder = destination.endswith(("/", "/.")) or destination == "." or len(sources) > 1
        if instruction.name == "ADD":
            for source in filter(is_remote, sources):
                await self._add_remote(instruction, remote_of(instruction, source), target, folder)
            sources = [source for source in sources if not is_remote(source)]
            if not sources:
                return
        origin = instruction.flag("from")
        layer = (await self.steps.context()).id if origin is None else await self._origin(instruction, origin)
        extract = instruction.name == "ADD" and (instruction.flag("unpack") is None or instruction.is_set("unpack"))
        await self._place(instruction, layer, tuple(sources), target, folder, owned=origin is not None, extract=extract)

    async def _add_remote(self, instruction: Instruction, remote: Remote, target: str, folder: bool) -> None:
        layer = await self.steps.fetched(remote, f"Dockerfile line {instruction.line}: ADD {remote.address}"[:200])
        extract = instruction.is_set("unpack") and not remote.folder
        await self._place(
            instruction, layer.id, (remote.pattern,), target, folder or remote.folder, owned=False, extract=extract
        )

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
        extract: bool = False,
    ) -> None:
        owner, mode = instruction.flag("chown"), instruction.flag("chmod")
        owner = None if owner is None else self._word(instruction, owner)
        selection = Selection(
            patterns,
            owned,
            extract,
            self._mode(instruction, mode),
            tuple(self._word(instruction, each) for each in instruction.flags.get("exclude", ())),
            instruction.is_set("parents"),
        )
        digest, single = await self.steps.digest(source, selection)
        as_file = single and not folder
        folders = () if as_file else (target,)  # Even where nothing goes into it.
        placement = Placement(target, as_file, owner, folders, strict=instruction.name == "COPY")
        self.key = key_of("copy", self.key, digest, vars(placement))
        self.layer = (await self.steps.copy(self.layer, self.key, source, selection, placement)).id

    def _mode(self, instruction: Instruction, mode: str | None) -> int | str | None:
        if mode is None:
            return None
        text = self._word(instruction, mode)
        if SYMBOLIC_MODE.fullmatch(text):
            return text
        if not OCTAL_MODE.fullmatch(text):
            raise instruction.wrong(f"--chmod takes an octal number or as chmod does, not {text!r}", "As 755 or u+x.")
        return int(text, 8)

    async def _workdir(self, instruction: Instruction) -> None:
        word = self._word(instruction, instruction.words[0]) if instruction.words else ""
        if not word:
            raise instruction.wrong("WORKDIR needs a folder")
        folder = absolute(self.config.workdir or "/", word)
        self.config = replace(self.config, workdir=folder)
        owner = self.config.user or None
        self.key = key_of("folder", self.key, folder, *([owner] if owner else []))
        self.layer = (await self.steps.folders(self.layer, self.key, (folder,), owner)).id


SCRIPT = 'f=/tmp/.heredoc.$$; printf "%s" "$1" > "$f" && chmod 700 "$f" && "$f"; r=$?; rm -f "$f"; exit $r'
