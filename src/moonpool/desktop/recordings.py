"""Films of the screen, by ffmpeg, in a folder of the user's home.

What there is to know of one stands in its file's name, so that nothing but the file can be lost.
"""

import asyncio
import contextlib
import re
import signal
from datetime import UTC, datetime

from moonpool.desktop.errors import DesktopFailed, RecorderMissing, RecordingActive, RecordingNotFound
from moonpool.desktop.model import DISPLAY, ENVIRONMENT, Recording
from moonpool.desktop.screen import Screen
from moonpool.errors import CommandNotFound, FileNotFound, InvalidInput, ProcessEnded, ProcessNotFound
from moonpool.guest.model import Exited, FileInfo, Output, ProcessSpec
from moonpool.ids import random_word
from moonpool.sandboxes.model import AgentSession

FOLDER = "recordings"  # below the user's home
TAG = "desktop:recording:"
NAME = re.compile(r"([a-z0-9]{12})_(\d{8}T\d{6}Z)(?:_(.+))?\.mp4")
TIME = "%Y%m%dT%H%M%SZ"
LABEL = re.compile(r"[A-Za-z0-9 ._-]{1,100}")
FRAMES = 10  # a second
MOST_WORDS = 4096  # bytes of what ffmpeg says of why it does not
BEGIN_TIMEOUT = 20.0  # seconds until ffmpeg films
END_TIMEOUT = 30.0  # seconds for it to write what is left
ACTIVE_LIMIT = 4


class Recordings:
    def __init__(self, session: AgentSession) -> None:
        self._session = session
        self._agent = session.agent
        self._user = session.sandbox.user

    async def all(self) -> list[Recording]:
        """The newest first."""
        try:
            files = await self._agent.list(FOLDER, 1, user=self._user)
        except FileNotFound:
            return []
        active = await self._active()
        found = [recording for file in files if (recording := recording_of(file, active)) is not None]
        return sorted(found, key=lambda recording: recording.started_at, reverse=True)

    async def get(self, identifier: str) -> Recording:
        for recording in await self.all():
            if recording.id == identifier:
                return recording
        raise RecordingNotFound(f"Recording {identifier[:40]} not found")

    async def start(self, label: str = "") -> Recording:
        """It films from now on. RecorderMissing, DesktopNotStarted, DesktopFailed."""
        if label and not LABEL.fullmatch(label):
            raise InvalidInput("label must be letters, digits, spaces, dots, - and _", field="label")
        if len(await self._active()) >= ACTIVE_LIMIT:
            raise RecordingActive(f"{ACTIVE_LIMIT} recordings run already")
        size = await Screen(self._session).size()
        identifier, at = random_word(12), datetime.now(UTC).strftime(TIME)
        name = f"{identifier}_{at}" + (f"_{label}" if label else "") + ".mp4"
        await self._agent.mkdir(FOLDER, 0o755, user=self._user)
        await self._film(identifier, f"{FOLDER}/{name}", f"{size.width}x{size.height}")
        return await self.get(identifier)

    async def _film(self, identifier: str, path: str, size: str) -> None:
        grab = ("-f", "x11grab", "-framerate", str(FRAMES), "-video_size", size, "-i", DISPLAY)
        encode = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
        spec = ProcessSpec(
            argv=("ffmpeg", "-nostdin", "-loglevel", "error", "-progress", "pipe:1", *grab, *encode, path),
            env=ENVIRONMENT,
            user=self._user,
            tag=TAG + identifier,
        )
        said = b""
        try:
            async with self._agent.start_and_attach(spec) as (_, events):
                async with asyncio.timeout(BEGIN_TIMEOUT):
                    async for event in events:
                        if isinstance(event, Output) and event.stream == "stdout":
                            return  # Its first report of progress.
                        if isinstance(event, Exited):
                            break
                        said = (said + event.data)[-MOST_WORDS:]
        except CommandNotFound as error:
            raise RecorderMissing from error
        except TimeoutError:
            await self._end(identifier, signal.SIGKILL)
        raise DesktopFailed(said.decode(errors="replace").strip() or "ffmpeg did not begin to film")

    async def stop(self, identifier: str) -> Recording:
        """The whole film. One that has ended already is answered as it is."""
        recording = await self.get(identifier)
        if recording.running:
            await self._end(identifier, signal.SIGINT)
        return await self.get(identifier)

    async def delete(self, identifier: str) -> None:
        """RecordingActive, while it films."""
        recording = await self.get(identifier)
        if recording.running:
            raise RecordingActive
        await self._agent.remove(recording.path, user=self._user)

    async def _active(self) -> set[str]:
        tags = [info.tag or "" for info in await self._agent.processes() if info.running]
        return {tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)}

    async def _end(self, identifier: str, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessNotFound, ProcessEnded):
            await self._agent.signal(TAG + identifier, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_TIMEOUT):
                    await self._agent.wait(TAG + identifier)
                    return
            await self._agent.signal(TAG + identifier, signal.SIGKILL)


def recording_of(file: FileInfo, active: set[str]) -> Recording | None:
    """None for a file that is no recording."""
    if (found := NAME.fullmatch(file.name)) is None:
        return None
    identifier, at, label = found.groups()
    try:
        started_at = datetime.strptime(at, TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    running = identifier in active
    return Recording(
        id=identifier,
        path=file.path,
        label=label or "",
        running=running,
        started_at=started_at,
        ended_at=None if running else datetime.fromtimestamp(file.modified_at, UTC),
        size_bytes=None if running else file.size,
    )
