"""A start that comes to nothing says why, and leaves nothing on the machine."""

import asyncio
import shutil
from pathlib import Path

import pytest

from moonpool.errors import EngineError
from moonpool.hosts.host import Host
from moonpool.hosts.leftovers import leftovers
from moonpool.hosts.settings import HostSettings
from tests.data import data_folder

# Answers what it is asked about itself, and starts nothing.
BROKEN = """#!/bin/sh
case " $* " in *" run "*) echo "no sandbox today" >&2; exit 1;; esac
exec {runsc} "$@"
"""


def test_of_a_host_whose_sandboxes_do_not_start(tmp_path: Path) -> None:
    runsc = tmp_path / "runsc"
    runsc.write_text(BROKEN.format(runsc=shutil.which("runsc")))
    runsc.chmod(0o755)
    with data_folder() as data:
        for made in (data / "agent").glob("warm-*"):
            shutil.rmtree(made)
        settings = HostSettings(data=data, warm_pool=1, runsc=str(runsc), mend_runsc=False)
        with pytest.raises(EngineError, match="runsc run failed"):
            asyncio.run(Host.open(settings))
        assert leftovers(settings) == []
