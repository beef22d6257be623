"""Parts of images on their way in: all at once, in pieces that are gone on with, or found in another repository."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from moonpool.dialects.registry.call import Call
from moonpool.dialects.registry.errors import VERSION, range_of
from moonpool.errors import MoonpoolError
from moonpool.registry.errors import DigestInvalid, UploadInvalid, UploadNotFound

SILENCE = 60.0  # seconds between two pieces of a body
RANGE = re.compile(r"(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:/.*)?", re.ASCII)


async def begin(call: Call) -> Response:
    """With ``mount`` the part is there at once, if the team has it; with ``digest`` the body is all of it."""
    query = call.request.query_params
    mounted, digest = query.get("mount"), query.get("digest")
    if mounted and await call.images.has(call.principal, call.repository, mounted):
        return there(call, mounted)
    upload = await call.images.begin(call.principal, call.repository)
    if not digest or mounted:
        return under_way(call, upload, 0, 202)
    try:
        await call.images.append(call.principal, call.repository, upload, body_of(call.request), 0)
        await call.images.finish(call.principal, call.repository, upload, digest)
    except (MoonpoolError, ClientDisconnect):
        with contextlib.suppress(UploadNotFound):  # Nobody knows its name.
            await call.images.cancel(call.principal, call.repository, upload)
        raise
    return there(call, digest)


async def status(call: Call) -> Response:
    upload = call.parameter("upload")
    return under_way(call, upload, await call.images.uploaded(call.principal, call.repository, upload), 204)


async def append(call: Call) -> Response:
    upload = call.parameter("upload")
    begins = beginning(call.request)
    size = await call.images.append(call.principal, call.repository, upload, body_of(call.request), begins)
    return under_way(call, upload, size, 202)


async def finish(call: Call) -> Response:
    """The last piece, where there is one, and what all of it is."""
    upload, digest = call.parameter("upload"), call.request.query_params.get("digest", "")
    if not digest:
        raise DigestInvalid("The digest is missing", hint="Send it as ?digest=sha256:...")
    begins = beginning(call.request)
    await call.images.append(call.principal, call.repository, upload, body_of(call.request), begins)
    await call.images.finish(call.principal, call.repository, upload, digest)
    return there(call, digest)


async def cancel(call: Call) -> Response:
    await call.images.cancel(call.principal, call.repository, call.parameter("upload"))
    return Response(status_code=204, headers=VERSION)


def there(call: Call, digest: str) -> Response:
    location = f"/v2/{call.repository}/blobs/{digest}"
    return Response(status_code=201, headers={**VERSION, "Location": location, "Docker-Content-Digest": digest})


def under_way(call: Call, upload: str, size: int, status_code: int) -> Response:
    headers = {
        **VERSION,
        "Location": f"/v2/{call.repository}/blobs/uploads/{upload}",
        "Docker-Upload-UUID": upload,
        "Range": range_of(size),
    }
    return Response(status_code=status_code, headers=headers)


def beginning(request: Request) -> int | None:
    """Where the body begins in the upload, where the client says so. UploadInvalid."""
    text = request.headers.get("content-range")
    if text is None:
        return None
    match = RANGE.fullmatch(text.strip())
    if match is None:
        raise UploadInvalid(f"Not a range of bytes: {text[:80]!r}")
    first, last = int(match[1]), int(match[2])
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) != last - first + 1:
        raise UploadInvalid("The range and the length of the content are not the same")
    return first


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """UploadInvalid where it does not come."""
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(SILENCE):
                data = await anext(stream)
            if data:
                yield data
    except StopAsyncIteration:
        return
    except TimeoutError:
        raise UploadInvalid("The content did not come in time") from None
