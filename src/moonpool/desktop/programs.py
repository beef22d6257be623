"""The image's programs, run for the desktop's user on its screen."""

from collections.abc import Sequence

from moonpool.desktop.errors import DesktopFailed, DesktopNotStarted, DesktopToolMissing
from moonpool.desktop.model import ENVIRONMENT
from moonpool.errors import CommandNotFound
from moonpool.guest.model import ProcessResult, ProcessSpec
from moonpool.sandboxes.model import AgentSession

TIMEOUT = 60.0  # seconds
NO_SCREEN = (
    b"Can't open display",
    b"Failed to open",
    b"Can't open X display",
    b"Cannot open display",
    b"unable to open",
)


async def run(session: AgentSession, *command: str, stdin: bytes = b"", timeout: float = TIMEOUT) -> bytes:
    """Standard output. DesktopToolMissing, DesktopNotStarted, DesktopFailed."""
    result = await attempt(session, command, stdin=stdin, timeout=timeout)
    if result.exit_code:
        said = (result.stderr or result.stdout).decode(errors="replace").strip()
        raise DesktopFailed(said[-1000:] or f"{command[0]} ended with {result.exit_code}")
    return result.stdout


async def attempt(
    session: AgentSession, command: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT
) -> ProcessResult:
    spec = ProcessSpec(argv=tuple(command), env=ENVIRONMENT, user=session.sandbox.user, timeout=timeout)
    try:
        result = await session.agent.run(spec, stdin=stdin)
    except CommandNotFound as error:
        raise DesktopToolMissing(f"'{command[0]}' is not installed in this sandbox") from error
    if result.timed_out:
        raise DesktopFailed(f"{command[0]} did not end within {timeout:.0f} seconds")
    if result.exit_code and any(words in result.stderr for words in NO_SCREEN):
        raise DesktopNotStarted
    return result
