"""Where the SDK puts the files that a Dockerfile copies: as much of S3 as its clients use, for one hour and one team.

Credentials are not kept: the session token says whose they are and until when, under the server's own key, and the
secret is derived from it.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.access.model import Scope
from moonpool.dialects.common import sigv4
from moonpool.dialects.daytona.call import Authenticated, services_of
from moonpool.errors import InvalidInput, MoonpoolError, NotFound, TooLarge, Unauthorized

BUCKET = "builds"
PATH = "/api/object-storage/s3"
LIFETIME = 3600.0  # seconds
FILE = "context.tar"
XML = "application/xml"
MAX_XML = 1 << 20  # bytes
UNSIGNED = "UNSIGNED-PAYLOAD"
CHUNKED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
CODES = {Unauthorized: (403, "AccessDenied"), NotFound: (404, "NoSuchKey"), TooLarge: (400, "EntityTooLarge")}

router = APIRouter()
store = APIRouter()  # S3's own words, which are none of the vendor's operations


@router.get("/api/object-storage/push-access")
async def get_push_access(call: Authenticated) -> Response:
    call.services.access.require(call.principal, Scope.SNAPSHOTS_WRITE)
    key = secrets.token_hex(10).upper()
    expires = call.services.clock.now().timestamp() + LIFETIME
    token = sealed(call.services.server.signing_key, {"team": call.principal.team_id, "until": expires, "key": key})
    return JSONResponse(
        {
            "accessKey": key,
            "secret": secret_of(call.services.server.signing_key, token),
            "sessionToken": token,
            "storageUrl": f"{call.origin}{PATH}",
            "organizationId": call.principal.team_id,
            "bucket": BUCKET,
            "region": call.view.region,
        }
    )


def sealed(key: bytes, claims: dict[str, object]) -> str:
    text = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    return f"{text}.{hmac.digest(key, b'storage token ' + text.encode(), 'sha256').hex()}"


def unsealed(key: bytes, token: str) -> dict[str, object]:
    """Unauthorized."""
    text, _, seal = token.rpartition(".")
    expected = hmac.digest(key, b"storage token " + text.encode(), "sha256").hex()
    if not hmac.compare_digest(expected.encode(), seal.encode()):
        raise Unauthorized("The session token is not one of this server's")
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(text))
    return claims


def secret_of(key: bytes, token: str) -> str:
    return hmac.digest(key, b"storage secret " + token.encode(), "sha256").hex()


@dataclass(frozen=True)
class Object:
    """``name`` is that of the context; None: the bucket itself is meant."""

    team: str
    name: str | None


@store.api_route(f"{PATH}/{{path:path}}", methods=["GET", "HEAD", "PUT", "POST", "DELETE"], include_in_schema=False)
async def storage(request: Request, path: str) -> Response:
    try:
        return await answered(request, object_of(path, authorized(request)))
    except MoonpoolError as error:
        status, code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), (400, "InvalidRequest"))
        text = f"<Error><Code>{code}</Code><Message>{escape(error.message)}</Message></Error>"
        return Response(b"" if request.method == "HEAD" else text, status, media_type=XML)


def authorized(request: Request) -> str:
    """The team that the request is signed for. Unauthorized."""
    server, now = services_of(request).server, services_of(request).clock.now()
    token = request.headers.get("x-amz-security-token", "")
    claims = unsealed(server.signing_key, token)
    signature = sigv4.parse(request.headers.get("authorization", ""))
    if signature.access_key != claims["key"] or now > datetime.fromtimestamp(float(str(claims["until"])), UTC):
        raise Unauthorized("The session has expired", hint="Ask for push access again.")
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    sigv4.verify(
        signature,
        secret_of(server.signing_key, token),
        method=request.method,
        path=request.scope["raw_path"].decode("latin-1").partition("?")[0],
        query=request.scope["query_string"].decode("latin-1"),
        headers=headers,
        now=now,
    )
    return str(claims["team"])


def object_of(path: str, team: str) -> Object:
    """BUCKET/TEAM/NAME/context.tar; nothing of another team's is there."""
    bucket, _, key = path.partition("/")
    if bucket != BUCKET:
        raise NotFound("There is no such bucket")
    if not key:
        return Object(team, None)
    parts = unquote(key).split("/")
    if len(parts) != 3 or parts[0] != team or parts[2] != FILE:
        raise Unauthorized("These credentials are for objects ORGANIZATION/HASH/context.tar alone")
    return Object(team, parts[1])


async def answered(request: Request, target: Object) -> Response:
    builds, query = services_of(request).builds, request.query_params
    if target.name is None:
        if request.method != "GET":
            raise InvalidInput("Buckets can only be listed here")
        return listed(request, target.team)
    uploads, upload = builds.uploads, query.get("uploadId")
    if request.method == "HEAD" and upload is None:
        if not builds.contexts.has(target.team, target.name):
            raise NotFound("There is no such object")
        path = builds.contexts.path(target.team, target.name)
        return Response(headers={"etag": '"context"', "content-length": str(path.stat().st_size)})
    if request.method == "PUT" and upload is not None:
        number = int(query.get("partNumber", "0")) if query.get("partNumber", "").isdigit() else 0
        digest = await uploads.part(target.team, target.name, upload, number, content_of(request))
        return Response(headers={"etag": f'"{digest}"'})
    if request.method == "PUT":
        return Response(headers={"etag": f'"{await uploads.put(target.team, target.name, content_of(request))}"'})
    if request.method == "POST" and "uploads" in query:
        return begun(target, await uploads.begin(target.team, target.name))
    if request.method == "POST" and upload is not None:
        await uploads.complete(target.team, target.name, upload, parts_of(await whole(request)))
        key = f"{target.team}/{target.name}/{FILE}"
        text = f"<CompleteMultipartUploadResult {NAMESPACE}><Bucket>{BUCKET}</Bucket><Key>{key}</Key>"
        return Response(f'{text}<ETag>"context"</ETag></CompleteMultipartUploadResult>', media_type=XML)
    if request.method == "DELETE" and upload is not None:
        await uploads.abort(target.team, target.name, upload)
        return Response(status_code=204)
    raise InvalidInput(f"{request.method} is not supported here")


def listed(request: Request, team: str) -> Response:
    """ListObjectsV2 of one prefix, as far as a client asks whether something is there."""
    builds, prefix = services_of(request).builds, request.query_params.get("prefix", "")
    parts = prefix.split("/")
    found = parts[0] == team and len(parts) > 1 and bool(parts[1]) and builds.contexts.has(team, parts[1])
    key = f"{team}/{parts[1]}/{FILE}" if found else ""
    contents = f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" if found else ""
    text = f"<ListBucketResult {NAMESPACE}><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>"
    text += f"<KeyCount>{int(found)}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}"
    return Response(text + "</ListBucketResult>", media_type=XML)


def begun(target: Object, upload: str) -> Response:
    key = f"{target.team}/{target.name}/{FILE}"
    text = f"<InitiateMultipartUploadResult {NAMESPACE}><Bucket>{BUCKET}</Bucket><Key>{key}</Key>"
    return Response(f"{text}<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>", media_type=XML)


def parts_of(document: bytes) -> list[int]:
    if b"<!" in document:
        raise InvalidInput("The list of parts has a declaration in it")
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - bounded, and without declarations
        return [int(part.text or "") for part in root.iter() if part.tag.rpartition("}")[2] == "PartNumber"]
    except (ElementTree.ParseError, ValueError) as error:
        raise InvalidInput("The list of parts cannot be read") from error


async def whole(request: Request) -> bytes:
    data = b""
    async for piece in content_of(request):
        data += piece
        if len(data) > MAX_XML:
            raise TooLarge("The list of parts is too long")
    return data


async def content_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it was signed; InvalidInput at its end where it is another one."""
    promised = request.headers.get("x-amz-content-sha256", "")
    if promised == CHUNKED:
        async for data in unchunked(request.stream()):
            yield data
        return
    if promised.startswith("STREAMING-"):
        raise InvalidInput(f"{promised} is not supported")
    digest = hashlib.sha256()
    async for data in request.stream():
        digest.update(data)
        if data:
            yield data
    if promised != UNSIGNED and not hmac.compare_digest(digest.hexdigest(), promised):
        raise InvalidInput("The content is not the one that was signed")


async def unchunked(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Out of S3's own framing: SIZE CRLF DATA CRLF ..., and trailers after an empty one."""
    buffer, left = bytearray(), 0
    async for data in stream:
        buffer += data
        while buffer:
            if left > 2:
                piece = bytes(buffer[: left - 2])
                del buffer[: len(piece)]
                left -= len(piece)
                yield piece
                continue
            if left:
                taken = min(left, len(buffer))
                del buffer[:taken]
                left -= taken
                continue
            line, end, _rest = bytes(buffer[:1024]).partition(b"\r\n")
            if not end:
                if len(buffer) >= 1024:
                    raise InvalidInput("The content's framing cannot be read")
                break
            del buffer[: len(line) + 2]
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise InvalidInput("The content's framing cannot be read") from None
            if size == 0:
                async for _ in stream:
                    pass
                return
            left = size + 2
    raise InvalidInput("The content ends too early")
