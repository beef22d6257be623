"""Programs that look at what strangers made: each in namespaces of its own, with as little as it can do with.

They die with this process, whatever kills it, and their mounts are nobody else's.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from moonpool.errors import ImageTimeout, MachineUnfit

NOBODY = "65534"
PLACE = "/mnt"  # covered in the program's own mount namespace
LINE_LIMIT = 64 * 1024  # bytes
LINES_KEPT = 50
SHUT = ("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
WITHOUT_NETWORK = (*SHUT, "--net", "--ipc", "--uts")
WITH_GATE = (*SHUT, "--ipc", "--uts")
# $1 is bound to PLACE/image. What comes in on standard input is a file that only the program sees.
BIND = f"""\
mount -t tmpfs -o mode=755,size=4m none {PLACE}
mkdir {PLACE}/image
mount --bind "$1" {PLACE}/image
shift
"""
BIND_WITH_SECRET = f"""\
{BIND}umask 077
cat > {PLACE}/auth.json
chown {NOBODY}:{NOBODY} {PLACE}/auth.json
exec "$@"
"""
BIND_ONLY = f'{BIND}exec "$@"\n'
# A process that changes its user outlives its parent, unless it says again that it shall not.
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    *("--pdeathsig", "KILL"),
)
NO_CAPABILITIES = (*AS_NOBODY, "--inh-caps=-all", "--bounding-set=-all")
FOR_FILES = "-all,+chown,+dac_override,+fowner,+fsetid,+setfcap,+sys_chroot"
FILE_CAPABILITIES = ("setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={FOR_FILES}")
READ_CAPABILITIES = (
    *("setpriv", "--no-new-privs", "--inh-caps=-all"),
    "--bounding-set=-all,+dac_read_search,+dac_override,+sys_chroot",
)
TOOLS = ("setpriv", "unshare", "nsenter", "skopeo", "zstd")


def missing_tools() -> list[str]:
    """Names of programs that images need and this machine lacks."""
    return [name for name in TOOLS if shutil.which(name) is None]


def require_tools() -> None:
    if missing := missing_tools():
        raise MachineUnfit(f"Not installed: {', '.join(missing)}", hint="apt-get install skopeo zstd util-linux")


async def run(
    command: Sequence[str],
    *,
    stdin: bytes,
    seconds: float,
    on_line: Callable[[bytes], None],
    on_data: Callable[[bytes], None] | None = None,
    descriptors: Sequence[int] = (),
    output: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run to the end; its exit code. Each line of its output goes to ``on_line``; with ``on_data``, what it writes to
    standard output goes there as it is, and with ``output`` to that descriptor. ImageTimeout; a cancelled caller kills
    it."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if output is None else output,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=tuple(descriptors),
        limit=LINE_LIMIT,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **(environment or {})},
    )
    assert process.stdin
    assert process.stderr
    try:
        async with asyncio.timeout(seconds):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(stdin)
                await process.stdin.drain()
            process.stdin.close()
            readers = [_lines(process.stderr, on_line)]
            if process.stdout is not None:
                out = process.stdout
                readers.append(_lines(out, on_line) if on_data is None else _data(out, on_data))
            await asyncio.gather(*readers)
            return await process.wait()
    except TimeoutError as error:
        raise ImageTimeout(f"The image was not there after {seconds:.0f} seconds") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def _data(reader: asyncio.StreamReader, on_data: Callable[[bytes], None]) -> None:
    while data := await reader.read(LINE_LIMIT):
        on_data(data)


async def _lines(reader: asyncio.StreamReader, on_line: Callable[[bytes], None]) -> None:
    """Lines, of which the over-long are cut in pieces."""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                on_line(error.partial)
            return
        except asyncio.LimitOverrunError as error:
            line = await reader.readexactly(error.consumed)
        on_line(line.rstrip(b"\r\n"))


def shut_in(namespace: Sequence[str], script: str, folder: Path) -> tuple[str, ...]:
    """The beginning of a command that sees ``folder`` at PLACE/image."""
    return (*namespace, "sh", "-euc", script, "sh", str(folder))
