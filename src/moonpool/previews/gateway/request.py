"""A request on its way to an app: what it may not be, what it offers to be let in, and what the app gets to see."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from moonpool.previews.gateway.refusals import Refusal
from moonpool.previews.gateway.words import COOKIE, Words

Headers = list[tuple[bytes, bytes]]
BEARER = b"bearer "
KEY_HEADERS = (b"authorization", b"x-api-key")
MAX_TOKEN = 1024  # bytes; longer ones are none
# Of one connection alone (RFC 9110, 7.6.1), and what this gateway writes itself.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix")
TRUSTED_PROXIES = frozenset({"127.0.0.1", "::1"})  # on this machine, as the operator's own


@dataclass(frozen=True)
class Head:
    """``url`` as it was sent; header names in lower case, in the order in which they came. ``client`` is an address."""

    method: bytes
    url: bytes
    version: str
    headers: Headers
    secure: bool
    client: str
    upgrade: bool = False

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other == name]

    def first(self, name: bytes) -> bytes:
        return next((value for other, value in self.headers if other == name), b"")

    @property
    def chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    @property
    def has_body(self) -> bool:
        return self.chunked or self.first(b"content-length").strip() not in (b"", b"0")

    @property
    def websocket(self) -> bool:
        return self.upgrade and self.first(b"upgrade").strip().lower() == b"websocket"

    @property
    def wants_page(self) -> bool:
        return self.method in (b"GET", b"HEAD") and b"text/html" in self.first(b"accept")


@dataclass(frozen=True)
class Offered:
    """Everything by which a request may be let in, in the order in which it is tried."""

    keys: tuple[tuple[bytes, str], ...] = ()  # the header, and the API key in it
    tokens: tuple[str, ...] = ()
    in_query: tuple[str, ...] = ()
    sealed: str = ""


def checked(head: Head) -> Head:
    """With the path and query alone as its URL. Refuses what two servers in a row could read in two ways, and what is
    no business of a gateway's."""
    if len(head.all(b"host")) > 1:
        raise Refusal.bad_request("More than one Host header")
    head = replace(head, url=target_path(head.url, head.first(b"host")))
    if head.method == b"CONNECT" or (not head.url.startswith(b"/") and head.url != b"*"):
        raise Refusal.bad_request("The request's target has to begin with a slash")
    codings = head.all(b"transfer-encoding")
    if codings and (len(codings) > 1 or codings[0].strip().lower() != b"chunked" or head.version != "1.1"):
        raise Refusal.bad_request("Transfer-Encoding can only be 'chunked', once, in HTTP/1.1")
    if codings and head.all(b"content-length"):
        raise Refusal.bad_request("Content-Length and Transfer-Encoding in one request")
    if head.upgrade and head.has_body:
        raise Refusal.bad_request("A request with a body cannot change the protocol")
    return head


def target_path(url: bytes, host: bytes) -> bytes:
    """The path and query of a URL in any form, byte for byte; the absolute form has to name the same host."""
    scheme, found, rest = url.partition(b"://")
    if url.startswith(b"/") or not found or scheme.lower() not in (b"http", b"https"):
        return url
    authority, slash, path = rest.partition(b"/")
    if authority.lower() != host.strip().lower() or b"?" in authority or b"#" in authority:
        raise Refusal.bad_request("The request's target and its Host header disagree")
    return slash + path or b"/"


def offered(head: Head, words: Words, *, cookies: bool) -> Offered:
    """``cookies``: whether they are the preview's own, and not those of the address that the APIs share."""
    keys = tuple((name, key) for name, value in head.headers if name in KEY_HEADERS and (key := key_in(name, value)))
    tokens = [text(value) for name, value in head.headers if name in words.headers]
    sealed = ""
    for name, value in cookie_pairs(head) if cookies else ():
        if name == COOKIE:
            sealed = text(value)
        elif words.is_ours(name):
            tokens.append(text(value))
    return Offered(keys, tuple(tokens), tuple(in_query(head.url, words.parameters)), sealed)


def key_in(name: bytes, value: bytes) -> str:
    if name == b"authorization":
        if value[: len(BEARER)].lower() != BEARER:
            return ""
        value = value[len(BEARER) :]
    return text(value)


def text(value: bytes) -> str:
    return value.strip().decode("latin-1") if len(value) <= MAX_TOKEN else ""


def cookie_pairs(head: Head) -> Iterable[tuple[bytes, bytes]]:
    for value in head.all(b"cookie"):
        for part in value.split(b";"):
            name, _, content = part.strip().partition(b"=")
            yield name, content


def in_query(url: bytes, parameters: Collection[bytes]) -> Iterable[str]:
    if not parameters or b"?" not in url:
        return
    for part in url.partition(b"?")[2].split(b"&"):
        name, _, value = part.partition(b"=")
        if name in parameters:
            yield text(unquote_to_bytes(value))


def without_parameters(url: bytes, parameters: Collection[bytes]) -> bytes:
    """All else stays as it is, byte for byte."""
    path, mark, query = url.partition(b"?")
    if not mark or not any(name in query for name in parameters):
        return url
    kept = [part for part in query.split(b"&") if part.partition(b"=")[0] not in parameters]
    return path + mark + b"&".join(kept) if kept else path


def without_cookies(value: bytes, words: Words) -> bytes:
    """A Cookie header as the app may see it; empty where nothing is left."""
    parts = value.split(b";")
    kept = [part for part in parts if not words.is_ours(part.strip().partition(b"=")[0])]
    return value if len(kept) == len(parts) else b";".join(kept).strip()


@dataclass(frozen=True)
class Outgoing:
    """How a request goes on: to ``url``, without the headers ``spent`` on being let in."""

    url: bytes
    spent: frozenset[bytes] = frozenset()
    prefix: bytes = b""


def upstream_head(head: Head, out: Outgoing, words: Words) -> bytes:
    """Line and headers for the app. The length of a body is said once, in one way."""
    parts = [head.method, b" ", out.url, b" HTTP/1.1\r\n"]
    dropped = dropped_headers(head, out, words)
    lengths = 0
    for name, value in head.headers:
        if name in dropped or passes_for(name, dropped):
            continue
        if name == b"cookie":
            value = b"" if out.prefix else without_cookies(value, words)
            if not value:
                continue
        elif name == b"content-length":
            lengths += 1
            if lengths > 1:
                continue
        parts += (name, b": ", value, b"\r\n")
    if head.chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
    if head.websocket:
        parts.append(b"connection: Upgrade\r\nupgrade: websocket\r\n")
    for name, value in forwarding(head, out):
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def dropped_headers(head: Head, out: Outgoing, words: Words) -> set[bytes]:
    dropped = {*HOP_BY_HOP, *FORWARDED, *words.headers, *words.stripped, *words.unnoticed, *out.spent}
    for value in head.all(b"connection"):
        dropped.update(name.strip().lower() for name in value.split(b","))
    return dropped - {b"host", b"content-length", b"cookie"}


def passes_for(name: bytes, dropped: Collection[bytes]) -> bool:
    """Whether an app of the CGI's kind, to which ``_`` and ``-`` are the same, would take it for one that counts."""
    meant = name.replace(b"_", b"-")
    return b"_" in name and (meant in dropped or meant in (b"host", b"content-length"))


def forwarding(head: Head, out: Outgoing) -> Headers:
    """Who asked, and for what, as far as this gateway knows; what a client says of itself does not count."""
    client, host = head.client.encode("ascii"), head.first(b"host")
    scheme = b"https" if head.secure else b"http"
    if head.client in TRUSTED_PROXIES:
        client = b", ".join((*head.all(b"x-forwarded-for"), client))
        host = head.first(b"x-forwarded-host") or host
        scheme = head.first(b"x-forwarded-proto") or scheme
    found = [(b"x-forwarded-for", client), (b"x-forwarded-host", host), (b"x-forwarded-proto", scheme)]
    return [*found, (b"x-forwarded-prefix", out.prefix)] if out.prefix else found


def is_secure(head: Head) -> bool:
    """Whether the browser's connection is encrypted, here or by the operator's proxy."""
    if head.secure:
        return True
    return head.client in TRUSTED_PROXIES and head.first(b"x-forwarded-proto").strip().lower() == b"https"
