"""A stage carried out on layers that are only names: what is asked for, in which order, and known by which key."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from moonpool.builds.dockerfile import parse
from moonpool.builds.machine import Command
from moonpool.builds.model import Layer
from moonpool.builds.mounts import StepMount
from moonpool.builds.remotes import Remote
from moonpool.builds.stage import Result, StageRun
from moonpool.engine.images.oci import ImageConfig
from moonpool.engine.images.oci.copying import Placement, Selection
from moonpool.errors import BuildInvalid

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = ImageConfig(cmd=("sh",), env={"PATH": "/bin", "BASE": "b"}, workdir="/base")


class Steps:
    """Notes what a stage wants."""

    def __init__(self, base: ImageConfig = BASE) -> None:
        self._base = base
        self.commands: list[Command] = []
        self.copies: list[tuple[str, Selection, Placement]] = []
        self.made: list[str] = []
        self.said: list[str] = []
        self.keys: list[str] = []
        self.remotes: list[Remote] = []
        self.contents: Mapping[str, str] = {}
        self.single = True

    def _layer(self, kind: str, key: str) -> Layer:
        self.made.append(kind)
        self.keys.append(key)
        return Layer(f"{kind}{len(self.made)}", "team", key, None, 0, NOW, NOW)

    async def phase(self, name: str) -> None: ...

    async def base(self, name: str, line: int) -> Result:
        return Result(f"image {name}", f"key of {name}", self._base)

    async def stage(self, number: int) -> Result:
        return Result(f"stage {number}", f"key {number}", ImageConfig(env={"STAGE": str(number)}))

    async def files(self, contents: Mapping[str, str]) -> Layer:
        self.contents = contents
        return self._layer("files", "")

    async def context(self) -> Layer:
        return Layer("context", "team", "", None, 0, NOW, NOW)

    async def fetched(self, remote: Remote, shown: str) -> Layer:
        self.remotes.append(remote)
        return self._layer("fetched", "")

    async def run(self, parent: str, key: str, command: Command) -> Layer:
        self.commands.append(command)
        return self._layer("run", key)

    async def digest(self, source: str, selection: Selection) -> tuple[str, bool]:
        return f"digest of {selection.patterns}", self.single

    async def copy(self, parent: str, key: str, source: str, selection: Selection, placement: Placement) -> Layer:
        self.copies.append((source, selection, placement))
        return self._layer("copy", key)

    async def folders(self, parent: str, key: str, folders: tuple[str, ...], owner: str | None) -> Layer:
        return self._layer(f"folders {folders}" + (f" of {owner}" if owner else ""), key)

    def say(self, text: str) -> None:
        self.said.append(text)


async def carried_out(text: str, steps: Steps | None = None, **arguments: str) -> tuple[Result, Steps]:
    steps = steps or Steps()
    file = parse(text, arguments)
    return await StageRun(file, len(file.stages) - 1, arguments, steps).run(), steps


async def config_of(lines: str, **given: Any) -> ImageConfig:
    return (await carried_out(f"FROM base\n{lines}\n", **given))[0].config


class TestRun:
    async def test_shell_and_exec_form(self) -> None:
        _, steps = await carried_out('FROM base\nRUN a $X && b\nRUN ["/c", "d e"]\nSHELL ["/bin/bash", "-c"]\nRUN f\n')
        assert [command.argv for command in steps.commands] == [
            ("/bin/sh", "-c", "a $X && b"),
            ("/c", "d e"),
            ("/bin/bash", "-c", "f"),
        ]

    async def test_a_heredoc_is_the_script(self) -> None:
        _, steps = await carried_out(
            "FROM base\nRUN <<EOF\na\nb\nEOF\nRUN cat <<X | c\nd\nX\nRUN <<Y\n#!/bin/x\ne\nY\n"
        )
        first, second, third = (command.argv for command in steps.commands)
        assert first == ("/bin/sh", "-c", "a\nb\n")
        assert second == ("/bin/sh", "-c", "cat <<X | c\nd\nX")
        assert third[-1] == "#!/bin/x\ne\n"

    async def test_arguments_and_environment_reach_it_and_make_its_key(self) -> None:
        text = "ARG GLOBAL=g\nFROM base\nARG A=1\nARG GLOBAL\nENV E=$A\nRUN x\n"
        one, steps = await carried_out(text)
        command = steps.commands[0]
        assert {"A": "1", "GLOBAL": "g", "E": "1", "BASE": "b"}.items() <= command.env.items()
        other, _ = await carried_out(text, A="2")
        again, _ = await carried_out(text)
        assert one.key == again.key != other.key

    async def test_what_every_build_knows(self) -> None:
        text = "FROM base AS one\nARG TARGETSTAGE\nARG TARGETOS\nRUN x\n"
        _, steps = await carried_out(text)
        assert [steps.commands[0].env[name] for name in ("TARGETSTAGE", "TARGETOS")] == ["one", "linux"]

    async def test_an_argument_that_is_not_declared_says_nothing(self) -> None:
        one, steps = await carried_out("FROM base\nRUN x\n", A="1")
        assert "A" not in steps.commands[0].env
        assert one.key == (await carried_out("FROM base\nRUN x\n"))[0].key

    async def test_settings_do_not_change_the_disk(self) -> None:
        with_label, _ = await carried_out("FROM base\nRUN x\nLABEL a=b\nEXPOSE 80\n")
        assert with_label.key == (await carried_out("FROM base\nRUN x\n"))[0].key

    async def test_no_network_where_none_is_wanted(self) -> None:
        _, steps = await carried_out("FROM base\nRUN --network=none x\nRUN y\n")
        assert [command.network for command in steps.commands] == [False, True]

    async def test_mounts(self) -> None:
        text = (
            "FROM a AS first\nFROM base\nARG T=/t\n"
            "RUN --mount=type=bind,source=dir/a.lock,target=a.lock --mount=from=first,src=/out/*,dst=$T,rw \\\n"
            " --mount=type=cache,id=pip,target=/c,uid=7,mode=0700 --mount=type=tmpfs,target=/m \\\n"
            " --mount=type=secret,id=k x\n"
        )
        _, steps = await carried_out(text)
        bound, stage, cache, memory = steps.commands[0].mounts
        assert bound == StepMount("/base/a.lock", "context", "/dir", "a.lock", read_only=True)
        assert (stage.target, stage.layer, stage.file, stage.read_only) == ("/t", "stage 0", "*", False)
        assert (cache.target, cache.layer, cache.mode, cache.owner) == ("/c", None, 0o700, (7, 0))
        assert cache.cache
        assert memory == StepMount("/m")

    async def test_what_is_mounted_makes_the_key(self) -> None:
        keys = set()
        for mounts in ("", "--mount=source=a,target=/t", "--mount=source=b,target=/t", "--mount=source=b,target=/u"):
            keys.add((await carried_out(f"FROM base\nRUN {mounts} x\n"))[0].key)
        assert len(keys) == 4


class TestCopy:
    async def test_from_the_context_a_stage_and_an_image(self) -> None:
        text = "FROM a AS first\nFROM base\nCOPY x y /to/\nCOPY --from=first /p q\nCOPY --from=other:1 /r /s\n"
        _, steps = await carried_out(text)
        assert steps.copies == [
            ("context", Selection(("x", "y")), Placement("/to", folders=("/to",), strict=True)),
            ("stage 0", Selection(("/p",), owned=True), Placement("/base/q", as_file=True, strict=True)),
            ("image other:1", Selection(("/r",), owned=True), Placement("/s", as_file=True, strict=True)),
        ]

    async def test_owner_mode_and_variables(self) -> None:
        _, steps = await carried_out("FROM base\nENV W=me D=/d\nCOPY --chown=$W:0 --chmod=0750 a $D/\n")
        placement = Placement("/d", owner="me:0", folders=("/d",), strict=True)
        assert steps.copies == [("context", Selection(("a",), mode=0o750), placement)]

    async def test_add_takes_archives_apart(self) -> None:
        _, steps = await carried_out("FROM base\nADD a.tar.gz /d/\nADD --unpack=false a.tar.gz /d/\n")
        assert [selection.extract for _, selection, _ in steps.copies] == [True, False]

    async def test_what_is_left_out_and_folders_that_are_kept(self) -> None:
        _, steps = await carried_out(
            "FROM base\nCOPY --link --parents --exclude=*.md --exclude=**/x --chmod=u+x,go=r a/./b /to/\n"
        )
        expected = Selection(("a/./b",), mode="u+x,go=r", exclude=("*.md", "**/x"), parents=True)
        assert steps.copies == [("context", expected, Placement("/to", folders=("/to",), strict=True))]

    async def test_add_fetches_files_and_repositories(self) -> None:
        steps = Steps()
        await carried_out(
            "FROM base\nADD https://example.com/a%20b.tgz?x=1 /d/\nADD https://example.com/r.git#v1:docs/e /r\n"
            f"ADD --checksum=sha256:{'0' * 64} --unpack https://example.com/c.tar /c\n",
            steps,
        )
        assert [(remote.pattern, remote.fixed) for remote in steps.remotes] == [
            ("/fetched/a b.tgz", False),
            ("/fetched/docs/e", False),
            ("/fetched/c.tar", True),
        ]
        assert [(selection.extract, placement.as_file) for _, selection, placement in steps.copies] == [
            (False, False),
            (False, False),
            (True, True),
        ]

    async def test_documents_in_the_file_itself(self) -> None:
        _, steps = await carried_out("FROM base\nENV V=1\nCOPY <<a <<'b' /d/\nx$V\na\ny$V\nb\n")
        assert steps.contents == {"a": "x1\n", "b": "y$V\n"}
        assert steps.copies[0][2] == Placement("/d", folders=("/d",), strict=True)

    async def test_a_step_is_known_by_its_contents(self) -> None:
        one, _ = await carried_out("FROM base\nCOPY a /x\n")
        assert one.key != (await carried_out("FROM base\nCOPY b /x\n"))[0].key
        assert one.key != (await carried_out("FROM base\nCOPY a /y\n"))[0].key


class TestSettings:
    async def test_environment_labels_and_the_rest(self) -> None:
        config = await config_of(
            'ENV A="x y" B=$BASE\nENV OLD style value\nLABEL l=m\nMAINTAINER me\nUSER a:b\nVOLUME /v /w\n'
            "EXPOSE 80 443/udp 9000-9001\nSTOPSIGNAL 9\nHEALTHCHECK --interval=1m30s --retries=2 CMD curl x\n"
            "ONBUILD RUN later"
        )
        assert {"A": "x y", "B": "b", "OLD": "style value"}.items() <= config.env.items()
        assert config.labels == {"l": "m", "maintainer": "me"}
        assert (config.user, config.volumes, config.stop_signal) == ("a:b", ("/v", "/w"), "9")
        assert config.ports == ("80/tcp", "443/udp", "9000/tcp", "9001/tcp")
        assert config.healthcheck == {"Test": ["CMD-SHELL", "curl x"], "Interval": 90_000_000_000, "Retries": 2}
        assert config.onbuild == ("RUN later",)

    async def test_an_entrypoint_drops_the_base_images_command_alone(self) -> None:
        assert (await config_of('ENTRYPOINT ["e"]')).command == ("e",)
        assert (await config_of('CMD ["c"]\nENTRYPOINT ["e"]')).command == ("e", "c")
        assert (await config_of("CMD c d")).command == ("/bin/sh", "-c", "c d")

    async def test_folders_stand_on_each_other(self) -> None:
        result, steps = await carried_out("FROM base\nWORKDIR a\nWORKDIR ../b\nWORKDIR /c\n")
        assert result.config.workdir == "/c"
        assert steps.made == ["folders ('/base/a',)", "folders ('/base/b',)", "folders ('/c',)"]
        _, steps = await carried_out("FROM base\nUSER app\nWORKDIR a\n")
        assert steps.made == ["folders ('/base/a',) of app"]

    async def test_what_the_base_image_wants_is_done_first(self) -> None:
        result, steps = await carried_out("FROM base\nRUN own\n", Steps(ImageConfig(onbuild=("RUN theirs",))))
        assert [command.argv[-1] for command in steps.commands] == ["theirs", "own"]
        assert result.config.onbuild == ()

    async def test_an_earlier_stage_is_a_base(self) -> None:
        result, _ = await carried_out("FROM a AS first\nFROM first\nENV X=1\n")
        assert (result.layer, result.config.env["STAGE"]) == ("stage 0", "0")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN", "needs a command"),
        ("RUN --mount=type=secret,id=x,required=true y", "type=secret is not supported"),
        ("RUN --mount=type=ssh,required y", "type=ssh is not supported"),
        ("RUN --mount=type=npipe,target=/x y", "no mounts of type 'npipe'"),
        ("RUN --mount=type=cache y", "needs a target"),
        ("RUN --mount=type=bind,target=/ y", "cannot cover the root"),
        ("RUN --mount=type=cache,target=/x,mode=9 y", "not an octal mode"),
        ("RUN --mount=type=cache,target=/x,colour=red y", "no option 'colour'"),
        ("RUN --mount=type=bind,target y", "'target' needs a value"),
        ("RUN --network=host y", "--network=host is not supported"),
        ("RUN --security=insecure y", "--security=insecure"),
        ("COPY a", "at least a source and a destination"),
        ("COPY --chmod=u+y a b", "octal number"),
        ("COPY --parents=maybe a b", "--parents takes true or false"),
        ("ADD https://example.com/ /b", "does not end with a file's name"),
        ("ADD --checksum=md5:1 https://example.com/a /b", "--checksum takes sha256:"),
        ("ADD git@example.com:a/b.git /b", "builds have no keys for SSH"),
        ("ADD https://example.com/a.git#--upload-pack=x /b", "Not a branch, tag or commit"),
        ("WORKDIR", "needs a folder"),
        ("USER", "takes one word"),
        ("EXPOSE nine", "Not a port"),
        ("EXPOSE 70000", "Not a port"),
        ("SHELL bash", "JSON array"),
        ("HEALTHCHECK X", "HEALTHCHECK takes CMD"),
        ("HEALTHCHECK --interval=soon CMD x", "Not a duration"),
        ("ONBUILD FROM x", "ONBUILD cannot be followed by FROM"),
        ("ARG 1=2", "Not a name of an argument"),
        ("USER ${X", "missing '}'"),
    ],
)
async def test_what_cannot_be_done_is_told_with_its_line(line: str, words: str) -> None:
    with pytest.raises(BuildInvalid, match="line 2") as caught:
        await carried_out(f"FROM base\n{line}\n")
    assert words in caught.value.message
    assert caught.value.line == 2
