"""What the gateway changes in an app's answer: its own cookie, who may read and embed it, and what would reach beyond
the preview's own address."""

from collections.abc import Callable

from moonpool.previews.gateway.admission import Admitted
from moonpool.previews.gateway.request import Head, Headers

# Without "allow-same-origin": an app that is served at the address of the APIs must not act there as they do.
SANDBOXED = (
    b"sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads allow-pointer-lock allow-presentation"
)
CORS = b"access-control-"


def editing(admitted: Admitted, *, ours: bool) -> Callable[[Headers], Headers]:
    """``ours``: whether the preview's name is below our domain, where apps and the APIs are neighbours."""

    def edit(headers: Headers) -> Headers:
        if admitted.out.prefix:
            headers = [pair for pair in headers if pair[0].lower() not in (b"set-cookie", b"service-worker-allowed")]
            headers = [located(name, value, admitted.out.prefix) for name, value in headers]
            headers.append((b"Content-Security-Policy", SANDBOXED))
        elif ours:
            headers = [own_cookie(name, value) for name, value in headers]
        if admitted.embedders is not None:
            ancestors = " ".join(("'self'", *map(source, admitted.embedders))).encode("ascii", "ignore")
            headers.append((b"Content-Security-Policy", b"frame-ancestors " + ancestors))
        if admitted.origin is not None and not any(name.lower().startswith(CORS) for name, _ in headers):
            headers += allowing(admitted.origin)
        if admitted.cookie is not None:
            headers.append((b"Set-Cookie", admitted.cookie))
        return headers

    return edit


def own_cookie(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """For the host that set it, and no other: else an app could give cookies to its neighbours and to the APIs."""
    if name.lower() != b"set-cookie" or b"domain" not in value.lower():
        return name, value
    parts = value.split(b";")
    kept = [part for part in parts[1:] if part.strip().partition(b"=")[0].strip().lower() != b"domain"]
    return name, b";".join((parts[0], *kept))


def located(name: bytes, value: bytes, prefix: bytes) -> tuple[bytes, bytes]:
    if name.lower() == b"location" and value.startswith(b"/") and not value.startswith(b"//"):
        return name, prefix + value
    return name, value


def source(host: str) -> str:
    return "".join(character for character in host if character.isalnum() or character in ".-:/*[]")


def allowing(origin: bytes) -> Headers:
    return [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Vary", b"Origin"),
    ]


def preflight(head: Head, admitted: Admitted) -> bytes | None:
    """The answer to a trusted page's question whether it may ask; None for all other requests."""
    method = head.first(b"access-control-request-method")
    if admitted.origin is None or head.method != b"OPTIONS" or not method:
        return None
    headers = [*allowing(admitted.origin), (b"Access-Control-Allow-Methods", method)]
    if wanted := head.first(b"access-control-request-headers"):
        headers.append((b"Access-Control-Allow-Headers", wanted))
    lines = [b"HTTP/1.1 204 No Content", *(name + b": " + value for name, value in headers)]
    return b"\r\n".join([*lines, b"Access-Control-Max-Age: 600", b"", b""])
