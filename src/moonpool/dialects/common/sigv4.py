"""AWS's Signature Version 4 of a request's head, as S3's clients make it, checked."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from moonpool.errors import Unauthorized

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=15)
UNRESERVED = "-_.~"


@dataclass(frozen=True)
class Signature:
    """What an ``Authorization`` header says. ``day`` as 20260131."""

    access_key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    value: str


def parse(header: str) -> Signature:
    """Unauthorized for anything else."""
    algorithm, _, rest = header.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    scope = parts.get("Credential", "").split("/")
    if algorithm != ALGORITHM or len(scope) != 5 or scope[4] != "aws4_request" or "Signature" not in parts:
        raise Unauthorized("The request is not signed as S3's are")
    signed = tuple(parts.get("SignedHeaders", "").split(";"))
    return Signature(scope[0], scope[1], scope[2], scope[3], signed, parts["Signature"])


def verify(
    signature: Signature,
    secret: str,
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, Sequence[str]],
    now: datetime,
) -> None:
    """``path`` and ``query`` as they came, ``headers`` with names in small letters. Unauthorized."""
    moment = next(iter(headers.get("x-amz-date", ())), "")
    try:
        made = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Unauthorized("The request has no X-Amz-Date") from None
    if abs(now - made) > SKEW or not moment.startswith(signature.day):
        raise Unauthorized("The request was signed too long ago, or clocks differ")
    if not {"host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} <= set(signature.signed):
        raise Unauthorized("The request's signature leaves out a header")
    expected = signature_of(signature, secret, moment, canonical(signature, method, path, query, headers))
    if not hmac.compare_digest(expected.encode(), signature.value.encode()):
        raise Unauthorized("The request's signature does not match")


def canonical(signature: Signature, method: str, path: str, query: str, headers: Mapping[str, Sequence[str]]) -> str:
    """The text that is signed."""
    pairs = sorted((encoded(name), encoded(value)) for name, value in parse_qsl(query, keep_blank_values=True))
    lines = [
        f"{name}:{','.join(' '.join(value.split()) for value in headers.get(name, ()))}" for name in signature.signed
    ]
    return "\n".join(
        (
            method,
            quote(unquote_to_bytes(path), safe="/" + UNRESERVED),
            "&".join(f"{name}={value}" for name, value in pairs),
            *lines,
            "",
            ";".join(signature.signed),
            next(iter(headers.get("x-amz-content-sha256", ())), ""),
        )
    )


def encoded(text: str) -> str:
    return quote(text, safe=UNRESERVED)


def headers_of(
    access_key: str,
    secret: str,
    token: str,
    *,
    method: str,
    host: str,
    path: str,
    digest: str,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """What a client sends with a request whose content has the SHA-256 ``digest``: the inverse of ``verify``."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": moment, "x-amz-security-token": token}
    unsigned = Signature(access_key, moment[:8], region, "s3", tuple(sorted(sent)), "")
    request = canonical(unsigned, method, path, "", {name: [value] for name, value in sent.items()})
    value = signature_of(unsigned, secret, moment, request)
    scope = f"{access_key}/{moment[:8]}/{region}/s3/aws4_request"
    names = ";".join(unsigned.signed)
    return {**sent, "authorization": f"{ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={value}"}


def signature_of(signature: Signature, secret: str, moment: str, request: str) -> str:
    """Hexadecimal, of a canonical request."""
    scope = f"{signature.day}/{signature.region}/{signature.service}/aws4_request"
    text = "\n".join((ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in (signature.day, signature.region, signature.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
