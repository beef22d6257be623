"""Talks to registries and reads archives by way of skopeo, which reaches nothing but the gate and one folder."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from moonpool.engine.images.oci import contained, gate
from moonpool.engine.images.oci.layout import architecture
from moonpool.engine.images.oci.model import Credentials, FetchPolicy, Registry
from moonpool.engine.images.oci.proxy import Proxy, Refused
from moonpool.errors import (
    EngineError,
    ImageForbidden,
    ImageInvalid,
    ImageNotFound,
    ImageTooLarge,
    ImageUnauthorized,
    ImageUnavailable,
    MoonpoolError,
)

INSPECT_SECONDS = 60.0
MAX_MANIFEST = 4 << 20  # bytes
AUTH_FILE = f"{contained.PLACE}/auth.json"
PLATFORM = ("--override-os", "linux", "--override-arch", architecture(), "--insecure-policy")
# What skopeo says, in its order of meaning; the first that matches counts.
MEANINGS: Sequence[tuple[str, type[MoonpoolError], str]] = (
    (r"quota exceeded|no space left", ImageTooLarge, "The image is larger than allowed"),
    (
        r"unauthorized|authentication required|access to the resource is denied|denied:|403 \(Forbidden\)|"
        r"invalid username/password",
        ImageUnauthorized,
        "The registry does not let us have {image}",
    ),
    (r"no image found in (manifest list|image index)", ImageNotFound, "{image} has no variant for this machine"),
    (r"manifest unknown|name unknown|not found|404 \(", ImageNotFound, "There is no image {image}"),
    (
        r"connection refused|no such host|timeout|certificate|x509|Bad Gateway|HTTP response to HTTPS|"
        r"cannot be reached|cannot connect|connection reset|EOF",
        ImageUnavailable,
        "The registry of {image} cannot be used",
    ),
    (r"digest|did not match|mismatch|unexpected end|invalid|corrupt", ImageInvalid, "{image} is damaged"),
)
ALLOW_HINT = "The operator can allow a registry with MOONPOOL_REGISTRIES_ALLOW."
FATAL = re.compile(r'level=(?:fatal|error) msg="(.*)"\s*$')


async def resolve(source: Registry, policy: FetchPolicy) -> str:
    """What the reference names now: the digest of its manifest. ImageNotFound, ImageUnauthorized, ImageForbidden,
    ImageUnavailable."""
    contained.require_tools()
    require_allowed(source.reference.registry, policy)
    if source.reference.digest is not None:
        return source.reference.digest
    return f"sha256:{hashlib.sha256(await manifest(source, policy)).hexdigest()}"


async def manifest(source: Registry, policy: FetchPolicy) -> bytes:
    """It, as the registry has it."""
    taken = bytearray()

    def take(data: bytes) -> None:
        taken.extend(data)
        if len(taken) > MAX_MANIFEST:
            raise ImageInvalid(f"The image's manifest is larger than {MAX_MANIFEST} bytes")

    command = ["inspect", "--raw", "--authfile", AUTH_FILE, *_verification(source, policy, "--tls-verify")]
    with tempfile.TemporaryDirectory() as nothing:
        await run(command, Path(nothing), source, policy, INSPECT_SECONDS, lambda line: None, take)
    return bytes(taken)


@contextlib.asynccontextmanager
async def streaming(source: Registry, folder: Path, policy: FetchPolicy, seconds: float) -> AsyncIterator[Proxy]:
    """A way to the parts of the image, as they come; what goes wrong in the block is told as by ``copy``. Lost where
    this skopeo cannot do that. ``folder`` is empty, and stays so."""
    require_allowed(source.reference.registry, policy)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    said: deque[str] = deque(maxlen=contained.LINES_KEPT)
    with ours, theirs:
        async with gate.opened(policy) as way:
            shut = contained.shut_in(contained.WITH_GATE, contained.BIND_WITH_SECRET, folder)
            command = (
                *("nsenter", f"--net=/proc/self/fd/{way.namespace}", *shut, *contained.NO_CAPABILITIES),
                *("skopeo", *PLATFORM, "experimental-image-proxy", f"--sockfd={theirs.fileno()}"),
                *(f"--authfile={AUTH_FILE}", *_verification(source, policy, "--tls-verify")),
            )
            serving = asyncio.create_task(
                contained.run(
                    command,
                    stdin=authentication(source.credentials),
                    seconds=seconds,
                    on_line=lambda line: said.append(line.decode(errors="replace")),
                    descriptors=[way.namespace, theirs.fileno()],
                    environment=_behind(way),
                )
            )
            serving.add_done_callback(lambda _: hang_up(ours))  # Whoever waits for an answer knows.
            try:
                yield Proxy(ours)
            except Refused as error:
                raise failure_of([str(error)], way.refusals, source.reference.name) from error
            finally:
                hang_up(ours)
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


async def copy(
    source: Registry, folder: Path, target: str, policy: FetchPolicy, seconds: float, say: Callable[[str], None]
) -> None:
    """The image, as it is, in the new folder ``target`` of ``folder``, which is nobody's and may have a limit."""
    command = ["copy", "--src-authfile", AUTH_FILE, *_verification(source, policy, "--src-tls-verify")]
    copied = [f"dir:{contained.PLACE}/image/{target}"]

    def hear(line: bytes) -> None:
        say(line.decode(errors="replace"))

    await run(command, folder, source, policy, seconds, hear, None, copied)


async def convert(kind: str, name: str, folder: Path, target: str, seconds: float, say: Callable[[str], None]) -> None:
    """The image of the archive ``name`` in ``folder``, in the new folder ``target`` beside it."""
    origin, copied = f"{kind}:{contained.PLACE}/image/{name}", f"dir:{contained.PLACE}/image/{target}"
    shut = contained.shut_in(contained.WITHOUT_NETWORK, contained.BIND_WITH_SECRET, folder)
    said: deque[str] = deque(maxlen=contained.LINES_KEPT)
    code = await contained.run(
        (*shut, *contained.NO_CAPABILITIES, "skopeo", *PLATFORM, "copy", origin, copied),
        stdin=b"{}",
        seconds=seconds,
        on_line=lambda line: said.append(line.decode(errors="replace")),
        environment=_environment(),
    )
    if code:
        raise failure_of(said, [], "the archive")
    for line in said:
        say(line)


async def run(
    command: Sequence[str],
    folder: Path,
    source: Registry,
    policy: FetchPolicy,
    seconds: float,
    on_line: Callable[[bytes], None],
    on_data: Callable[[bytes], None] | None = None,
    arguments: Sequence[str] = (),
) -> None:
    require_allowed(source.reference.registry, policy)
    said: deque[str] = deque(maxlen=contained.LINES_KEPT)

    def hear(line: bytes) -> None:
        said.append(line.decode(errors="replace"))
        on_line(line)

    async with gate.opened(policy) as way:
        shut = contained.shut_in(contained.WITH_GATE, contained.BIND_WITH_SECRET, folder)
        code = await contained.run(
            (
                *("nsenter", f"--net=/proc/self/fd/{way.namespace}", *shut, *contained.NO_CAPABILITIES),
                *("skopeo", *PLATFORM, *command, f"docker://{source.reference.name}", *arguments),
            ),
            stdin=authentication(source.credentials),
            seconds=seconds,
            on_line=hear,
            on_data=on_data,
            descriptors=[way.namespace],
            environment=_behind(way),
        )
        if code:
            raise failure_of(said, way.refusals, source.reference.name)


def require_allowed(registry: str, policy: FetchPolicy) -> None:
    """What is on this machine itself is not reached by way of the gate unless the operator says so."""
    host, _, port = registry.partition(":")
    local = host == "localhost" or host.startswith("127.")
    if local and not policy.permits_private(host, int(port or 443)):
        raise ImageForbidden(f"{registry} is this server's own machine", hint=ALLOW_HINT)


def failure_of(said: Sequence[str], refusals: Sequence[str], image: str) -> MoonpoolError:
    """What went wrong, from what skopeo said of it. Credentials are in none of its messages."""
    whole = "\n".join(said)
    fatal = [match[1].replace('\\"', '"') for line in said if (match := FATAL.search(line))]
    reason = (fatal[-1] if fatal else whole[-500:]).strip()
    if refusals and "private address" in refusals[-1]:
        return ImageForbidden(f"{image}: {refusals[-1]}", hint=ALLOW_HINT)
    for pattern, kind, sentence in MEANINGS:
        if re.search(pattern, "\n".join((reason, *refusals)), re.IGNORECASE):
            return kind(f"{sentence.format(image=image)}: {reason}")
    return EngineError(f"Fetching {image} failed: {reason}")


def authentication(credentials: Credentials | None) -> bytes:
    """The file that clients of registries read."""
    if credentials is None:
        return b"{}"
    pair = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    return json.dumps({"auths": {credentials.registry: {"auth": pair}}}).encode()


def _verification(source: Registry, policy: FetchPolicy, option: str) -> list[str]:
    return [f"{option}={'false' if policy.is_insecure(source.reference.registry) else 'true'}"]


def hang_up(control: socket.socket) -> None:
    with contextlib.suppress(OSError):
        control.shutdown(socket.SHUT_RDWR)


def _behind(way: gate.Gate) -> dict[str, str]:
    return {**_environment(), "HTTP_PROXY": way.proxy, "HTTPS_PROXY": way.proxy, "NO_PROXY": ""}


def _environment() -> dict[str, str]:
    return {"HOME": "/nonexistent", "TMPDIR": f"{contained.PLACE}/image", "PATH": os.environ.get("PATH", os.defpath)}
