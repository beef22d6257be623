"""Parts of images: read and removed."""

from starlette.responses import FileResponse, Response

from moonpool.dialects.registry.call import Call
from moonpool.dialects.registry.errors import VERSION

BINARY = "application/octet-stream"


async def get(call: Call) -> Response:
    """Or a range of it."""
    digest = call.parameter("digest")
    path = await call.images.blob(call.principal, call.repository, digest)
    headers = {**VERSION, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
    return FileResponse(path, headers=headers, media_type=BINARY)


async def delete(call: Call) -> Response:
    await call.images.delete_blob(call.principal, call.repository, call.parameter("digest"))
    return Response(status_code=202, headers=VERSION)
