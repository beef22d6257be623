"""What the probe makes of the installed runsc, and of others that a shell script stands for."""

import os
from pathlib import Path

import pytest

from moonpool.engine.gvisor.capabilities import cpu_features, probe
from moonpool.errors import MachineUnfit

GLOBAL = "root log network platform overlay2 file-access file-access-mounts net-disconnect-ok ignore-cgroups"
CHECKPOINT = "image-path leave-running compression"
RESTORE = "image-path bundle detach"


@pytest.fixture
def fake_runsc(tmp_path):
    def make(version: str, flags: str = GLOBAL, checkpoint: str = CHECKPOINT, restore: str = RESTORE) -> str:
        def lines(names: str) -> str:
            return "".join(f"  -{name} value\n    \twhat it does\n" for name in names.split())

        script = tmp_path / "runsc"
        script.write_text(
            f"#!/bin/sh\ncase \"$*\" in\n--version) echo 'runsc version {version}';;\n"
            f"flags) cat <<'END'\n{lines(flags)}END\n;;\n"
            f"'help checkpoint') cat <<'END'\n{lines(checkpoint)}END\n;;\n"
            f"'help restore') cat <<'END'\n{lines(restore)}END\n;;\nesac\n"
        )
        script.chmod(0o755)
        return str(script)

    return make


def test_the_installed_one_will_do():
    found = probe("runsc")
    assert found.version
    assert "--overlay2=none" in found.flags
    assert "--file-access-mounts=shared" in found.flags
    assert found.architecture == os.uname().machine
    assert list(found.cpu_features) == sorted(found.cpu_features)


@pytest.mark.parametrize("version", ["0.0~20240729.0", "release-20240729.0", "release-20260105.1", "VERSION_MISSING"])
def test_new_enough_versions_are_taken(fake_runsc, version):
    assert probe(fake_runsc(version)).version == version


@pytest.mark.parametrize("version", ["0.0~20221219.0", "release-20240722.0"])
def test_old_versions_are_refused_with_what_to_install(fake_runsc, version):
    with pytest.raises(MachineUnfit, match="too old") as refused:
        probe(fake_runsc(version))
    assert "bookworm-backports" in refused.value.hint


def test_missing_flags_are_named(fake_runsc):
    runsc = fake_runsc("release-20260101.0", flags=GLOBAL.replace("overlay2", ""), checkpoint="image-path")
    with pytest.raises(MachineUnfit, match="overlay2, checkpoint leave-running"):
        probe(runsc)


def test_compression_is_only_spoken_of_where_it_is_known(fake_runsc):
    assert probe(fake_runsc("release-20260101.0")).checkpoint_flags == ("--compression=none",)
    assert probe(fake_runsc("release-20260101.0", checkpoint="image-path leave-running")).checkpoint_flags == ()


def test_no_runsc_and_no_answer_are_told_apart(fake_runsc, tmp_path):
    with pytest.raises(MachineUnfit, match="there is no"):
        probe(str(tmp_path / "missing"))
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    with pytest.raises(MachineUnfit, match="does not tell its version"):
        probe(str(silent))
    silent.chmod(0o644)
    with pytest.raises(MachineUnfit, match="does not run"):
        probe(str(silent))


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor\t: 0\nflags\t\t: sse2 fpu\n\nprocessor\t: 1\nflags\t\t: other\n", ("fpu", "sse2")),
        ("processor\t: 0\nFeatures\t: fp asimd\n", ("asimd", "fp")),
        ("nothing of the kind\n", ()),
    ],
)
def test_processor_features(tmp_path: Path, text, features):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_features(tmp_path / "cpuinfo") == features
