"""Images by tag or digest, and what there is."""

from urllib.parse import quote, urlencode

from starlette.responses import JSONResponse, Response

from moonpool.dialects.common.bodies import read_body
from moonpool.dialects.registry.call import Call
from moonpool.dialects.registry.errors import VERSION
from moonpool.errors import InvalidInput
from moonpool.registry.model import MAX_MANIFEST, check_repository

MOST_LISTED = 1000


async def root(_call: Call) -> Response:
    """Clients ask it whether this is a registry, and whether they are let in."""
    return JSONResponse({}, headers=VERSION)


async def get(call: Call) -> Response:
    found = await call.images.manifest(call.principal, call.repository, call.parameter("reference"))
    headers = {**VERSION, "Docker-Content-Digest": f"sha256:{found.digest}", "ETag": f'"sha256:{found.digest}"'}
    if call.request.method == "HEAD":
        headers["Content-Length"] = str(len(found.content))
        return Response(headers=headers, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)


async def put(call: Call) -> Response:
    check_repository(call.repository)
    content = await read_body(call.request, MAX_MANIFEST)
    media_type = call.request.headers.get("content-type", "")
    made = await call.images.put_manifest(
        call.principal, call.repository, call.parameter("reference"), content, media_type
    )
    digest = f"sha256:{made.digest}"
    location = f"/v2/{call.repository}/manifests/{digest}"
    return Response(status_code=201, headers={**VERSION, "Location": location, "Docker-Content-Digest": digest})


async def delete(call: Call) -> Response:
    await call.images.delete_manifest(call.principal, call.repository, call.parameter("reference"))
    return Response(status_code=202, headers=VERSION)


async def tags(call: Call) -> Response:
    found = await call.images.tags(call.principal, call.repository)
    page, headers = paged(call, found, f"/v2/{call.repository}/tags/list")
    return JSONResponse({"name": call.repository, "tags": page}, headers=headers)


async def catalog(call: Call) -> Response:
    """The team's own repositories."""
    page, headers = paged(call, await call.images.repositories(call.principal), "/v2/_catalog")
    return JSONResponse({"repositories": page}, headers=headers)


def paged(call: Call, names: list[str], path: str) -> tuple[list[str], dict[str, str]]:
    """``n`` of them after ``last``, and where the next ones are. InvalidInput."""
    query = call.request.query_params
    number = query.get("n", str(MOST_LISTED))
    if not number.isascii() or not number.isdigit():
        raise InvalidInput("n is not a number", field="n")
    most, last = min(int(number[:9]), MOST_LISTED), query.get("last", "")
    rest = [name for name in names if name > last] if last else names
    page = rest[:most]
    if not page or len(page) == len(rest):
        return page, dict(VERSION)
    following = f"{quote(path)}?{urlencode({'n': most, 'last': page[-1]})}"
    return page, {**VERSION, "Link": f'<{following}>; rel="next"'}
