"""Plain ``runsc``: the yardstick for every ratio."""

import asyncio
import shutil

from moonpool.bench.figures import Figure, sample
from moonpool.errors import MachineUnfit

COMMAND = ("--network=none", "do", "/bin/echo", "hi")


async def plain_runsc(runs: int) -> Figure:
    """``runsc --network=none do /bin/echo hi``, start to end."""
    runsc = shutil.which("runsc")
    if runsc is None:
        raise MachineUnfit("runsc is not installed", hint="Run ./up --prepare.")

    async def once() -> None:
        process = await asyncio.create_subprocess_exec(
            runsc,
            *COMMAND,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if output != b"hi\n":
            raise RuntimeError(errors.decode(errors="replace"))

    return await sample("plain runsc --network=none do /bin/echo hi", runs, once)
