"""Plain ``runsc``: the yardstick for every ratio."""

import asyncio
import shutil

from moonpool.bench.figures import Figure, sample
from moonpool.errors import MachineUnfit

COMMAND = ("/bin/echo", "hi")


async def plain_runsc(runs: int) -> Figure:
    """``runsc --network=none do /bin/echo hi``, start to end."""

    async def once() -> None:
        if await plain(*COMMAND) != b"hi\n":
            raise RuntimeError("runsc do printed something else")

    return await sample("plain runsc --network=none do /bin/echo hi", runs, once)


async def plain(*command: str) -> bytes:
    """What a command prints, run by runsc alone. RuntimeError where it fails, MachineUnfit without runsc."""
    runsc = shutil.which("runsc")
    if runsc is None:
        raise MachineUnfit("runsc is not installed", hint="Run ./up --prepare.")
    process = await asyncio.create_subprocess_exec(
        *(runsc, "--network=none", "do", *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        await process.wait()  # It ends by itself, with what it has made on the machine.
    if process.returncode:
        raise RuntimeError(errors.decode(errors="replace"))
    return output
