"""Runs mmdebstrap and turns what it says into progress."""

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from moonpool.engine.images.halt import Halt
from moonpool.engine.images.mirror import Mirrors
from moonpool.engine.images.model import Progress
from moonpool.engine.images.recipe import Recipe
from moonpool.errors import EngineError, MachineUnfit

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MEMORY_FOR_BUILD = 4 * 1024**3  # bytes that must be available for the build to happen in memory
BUILD_SIZE = "3g"  # of which the image with a desktop takes half
LINES_KEPT = 15  # of mmdebstrap's output, for the error
# Everything dies with this process, whatever kills it: the namespace's first process takes the rest along, and its
# mounts are nobody else's. What the host unmounts meanwhile is unmounted in there too, where the host shares it.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child=KILL"),
)
IN_MEMORY = 'mount -t tmpfs -o size="$1" moonpool-build "$2"; shift 2; exec "$@"'
DIRECTLY = 'shift 2; exec "$@"'


@dataclass(frozen=True)
class Phase:
    """From ``start`` on, of the whole; each line that matches ``line`` is a step towards ``end``."""

    begin: str
    text: str
    start: float
    end: float
    line: str = "^$"


@dataclass(frozen=True)
class Additions:
    """Folders: what is copied over the installed packages, and Python's packages with their ``requirements.txt``."""

    overlay: Path
    wheels: Path


PHASES = (
    Phase("I: running apt-get update", "fetching package lists", 0.05, 0.12, r"^Get:"),
    Phase("I: downloading packages with apt", "fetching packages", 0.12, 0.30, r"^Get:"),
    Phase("I: extracting archives", "unpacking the essential packages", 0.30, 0.35),
    Phase("I: installing essential packages", "installing the essential packages", 0.35, 0.42, r"^Setting up "),
    Phase("I: installing remaining packages", "installing packages", 0.42, 0.70, r"^(Unpacking|Setting up) "),
    Phase("I: running --customize-hook", "adding users, certificates, Node and Python packages", 0.70, 0.75),
    Phase("I: creating tarball", "packing", 0.75, 0.85),
)
STEPS_EXPECTED = 250  # lines a phase has at most; beyond that the bar waits


def build_archive(
    recipe: Recipe, mirrors: Mirrors, additions: Additions, work: Path, target: Path, progress: Progress, halt: Halt
) -> None:
    """Build the root file system into ``target``, a tar archive compressed with zstd. Raises EngineError, GivenUp."""
    root = work / "root"
    root.mkdir(parents=True)
    script = work / "customise.sh"
    script.write_text(recipe.customise)
    script.chmod(0o755)
    command = [*CONTAINED, "sh", "-euc", _wrapper(), "sh", BUILD_SIZE, str(root)]
    command += _mmdebstrap(recipe, additions, script)
    # What the operator has told pip and Python is about this machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment |= {"SOURCE_DATE_EPOCH": str(recipe.epoch), "TMPDIR": str(root), "LC_ALL": "C.UTF-8"}
    sources = "\n".join(mirrors.sources(recipe.suite)) + "\n"
    with target.open("wb") as out:
        _run(command, environment, sources, out.fileno(), progress, halt)


def _run(
    command: list[str], environment: dict[str, str], sources: str, out: int, progress: Progress, halt: Halt
) -> None:
    try:
        maker = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except FileNotFoundError as error:
        raise MachineUnfit("setpriv is not installed", hint="apt-get install util-linux") from error
    assert maker.stdin
    assert maker.stdout
    assert maker.stderr
    packing = subprocess.Popen(["zstd", "--quiet", "-3", "-T0"], stdin=maker.stdout, stdout=out)
    with maker, packing as packer, halt.ending(maker):
        maker.stdout.close()
        maker.stdin.write(sources)
        maker.stdin.close()
        last = deque(report(maker.stderr, progress), maxlen=LINES_KEPT)
    halt.check()
    if maker.returncode or packer.returncode:
        raise EngineError(
            "Building the base image failed:\n" + "\n".join(last),
            hint="It needs mmdebstrap, zstd and a Debian mirror it can reach (MOONPOOL_DEBIAN_MIRROR).",
        )


def report(lines: Iterable[str], progress: Progress) -> Iterator[str]:
    """Tell ``progress`` what mmdebstrap's lines mean; hands the lines on."""
    phase, steps = PHASES[0], 0
    for line in lines:
        started = next((each for each in PHASES if line.startswith(each.begin)), None)
        if started is not None:
            phase, steps = started, 0
            progress(phase.text, phase.start)
        elif re.match(phase.line, line):
            steps = min(steps + 1, STEPS_EXPECTED)
            progress(phase.text, phase.start + (phase.end - phase.start) * steps / STEPS_EXPECTED)
        yield line.rstrip()


def _mmdebstrap(recipe: Recipe, additions: Additions, script: Path) -> list[str]:
    users = [f"{user.name}:{user.number}:{user.home}" for user in recipe.users]
    hook = " ".join([str(script), '"$1"', str(additions.overlay), str(additions.wheels), *users])
    options = ["--mode=root", "--variant=minbase", "--verbose", "--format=tar"]
    options += [f"--include={','.join(recipe.packages)}"] if recipe.packages else []
    options += [f"--dpkgopt={line}" for line in recipe.dpkg_options]
    options += [f"--aptopt={line}" for line in recipe.apt_options]
    options += [f"--keyring={KEYRING}"] if KEYRING.exists() else []
    return ["mmdebstrap", *options, f"--customize-hook={hook}", recipe.suite, "-", "-"]


def _wrapper() -> str:
    available = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    return IN_MEMORY if available >= MEMORY_FOR_BUILD else DIRECTLY


def missing_tools() -> list[str]:
    """Names of programs that a build needs and this machine lacks."""
    return [name for name in ("mmdebstrap", "zstd", "tar", "unshare", "setpriv") if shutil.which(name) is None]
