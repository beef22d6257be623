"""What clients call things: each API has its own header, parameter and cookie for the same token."""

from collections.abc import Iterable
from dataclasses import dataclass

COOKIE = b"moonpool_preview"  # the gateway's own


@dataclass(frozen=True)
class Words:
    """Names in lower case, but for ``parameters``, whose case counts. ``stripped`` headers are orders to a gateway,
    that no app need see; a request with the header ``unnoticed`` is no use of the sandbox. ``id_prefixes`` may stand
    before a sandbox's id in a host name. A name in ``cookies`` that ends with ``*`` stands for all that begin so."""

    headers: frozenset[bytes] = frozenset()
    parameters: frozenset[bytes] = frozenset()
    cookies: frozenset[bytes] = frozenset()
    stripped: frozenset[bytes] = frozenset()
    unnoticed: frozenset[bytes] = frozenset()
    id_prefixes: tuple[str, ...] = ()

    def is_ours(self, cookie: bytes) -> bool:
        """Whether this cookie is the gateway's, and no app's."""
        return cookie == COOKIE or any(
            cookie.startswith(name[:-1]) if name.endswith(b"*") else cookie == name for name in self.cookies
        )


def joined(parts: Iterable[Words]) -> Words:
    """The words of several APIs, all of which count for every sandbox."""
    words = tuple(parts)
    return Words(
        headers=frozenset().union(*(part.headers for part in words)),
        parameters=frozenset().union(*(part.parameters for part in words)),
        cookies=frozenset().union(*(part.cookies for part in words)),
        stripped=frozenset().union(*(part.stripped for part in words)),
        unnoticed=frozenset().union(*(part.unnoticed for part in words)),
        id_prefixes=tuple(prefix for part in words for prefix in part.id_prefixes),
    )
