"""The address under which a client reached this server."""

import re
from collections.abc import Mapping

HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
WEB_SCHEMES = {"ws": "http", "wss": "https"}


def origin(scheme: str, headers: Mapping[str, str], public_url: str) -> str:
    """``http(s)://host`` under which the asker reached this server; ``headers`` has lower-case names.

    What proxies in front say counts first, nonsense in a Host header does not. ``public_url`` stands in when there is
    no host, and gives the scheme when the host is its own, since a proxy may end TLS without saying so.
    """
    forwarded = first(headers.get("x-forwarded-proto", "")).lower()
    protocol = forwarded if forwarded in ("http", "https") else WEB_SCHEMES.get(scheme, scheme)
    for name in ("x-forwarded-host", "host"):
        host = first(headers.get(name, ""))
        if HOST.fullmatch(host):
            return public_url if public_url.partition("://")[2] == host else f"{protocol}://{host}"
    return public_url


def origin_of(url: str) -> str:
    """Scheme, host and port alone, as a browser says where a page comes from."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def first(values: str) -> str:
    return values.split(",", 1)[0].strip()
