"""Running the `moonpool` program and reading what it says.

Most commands are run by a fork of a process that has the modules (tests/programs.py): the same script, without what its
imports cost each time. ``Cli.apart`` runs each in an interpreter of its own, for tests of how the program starts.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tests.programs import run

PROGRAM = str(Path(sys.executable).with_name("moonpool"))
TIMEOUT = 300  # seconds, so that a command that hangs fails its test


def environment_for(data: Path, **variables: str) -> dict[str, str]:
    """This process's environment, without any Moonpool of the machine's own, with this one; and with compiled modules,
    since each command is a new process."""
    hidden = ("MOONPOOL_", "PYTHONDONTWRITEBYTECODE")
    ordinary = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    here = {"MOONPOOL_DATA": str(data), "MOONPOOL_ENVIRONMENT_FILE": str(data / "no-environment")}
    return {**ordinary, **here, **variables}


@dataclass(frozen=True)
class Cli:
    environment: dict[str, str]
    forked: bool = True

    @property
    def apart(self) -> "Cli":
        """Each command is an interpreter of its own, as a user's is."""
        return replace(self, forked=False)

    @property
    def data(self) -> Path:
        return Path(self.environment["MOONPOOL_DATA"])

    def __call__(self, *words: str, exit_code: int | None = 0, **variables: str) -> "subprocess.CompletedProcess[str]":
        """What it printed, having ended as expected; None takes any end. No end comes with a traceback."""
        done = self._run(words, {**self.environment, **variables})
        assert "Traceback" not in done.stderr, done.stderr
        assert exit_code in (None, done.returncode), f"{done.returncode}: {done.stdout}{done.stderr}"
        return done

    def _run(self, words: tuple[str, ...], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        if self.forked:
            return run(PROGRAM, *words, timeout=TIMEOUT, environment=environment)
        return subprocess.run(
            [PROGRAM, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def refused(self, *words: str, exit_code: int = 1, **variables: str) -> str:
        """The sentence with which it is refused."""
        done = self(*words, exit_code=exit_code, **variables)
        assert done.stdout == ""
        return done.stderr
