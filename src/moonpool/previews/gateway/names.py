"""From a Host header or a path to what it names: a port of a sandbox, by its id, a signed link or a domain."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moonpool.ids import SANDBOX_ID_LENGTH
from moonpool.previews.model import LINK_LENGTH, DomainMapping

HIGHEST_PORT = 65535
PATH = b"/preview/"  # before ID/PORT/..., where no name leads to a preview
MAX_HOST = 300  # bytes; a longer one names nothing

PORT = r"(?P<port>[1-9][0-9]{0,4})"
LINK = rf"(?P<link>[a-z0-9]{{{LINK_LENGTH}}})"
LINK_WORD = re.compile(rf"[a-z0-9]{{{LINK_LENGTH}}}")
ADDRESS = re.compile(r"(\[[0-9a-f:.]+\]|[^:]+)(:[0-9]{1,5})?")
IN_PATH = re.compile(rb"/preview/([a-z0-9-]{1,64})/([1-9][0-9]{0,4})(?=/|\?|$)")


@dataclass(frozen=True)
class Target:
    """A port of the sandbox that ``sandbox_id`` or the signed link ``link`` names. ``public``: the domain was given
    away on purpose. ``prefix``: the part of the path that is not the app's."""

    port: int
    sandbox_id: str = ""
    link: str = ""
    public: bool = False
    prefix: bytes = b""


class Names:
    """``domains``: host names, without ports, whose subdomains are previews; ``mapped`` knows users' own domains;
    ``own_hosts``: where the APIs are, whatever somebody mapped."""

    def __init__(
        self,
        domains: Iterable[str],
        mapped: Callable[[str], DomainMapping | None],
        id_prefixes: Iterable[str] = (),
        own_hosts: Iterable[str] = (),
    ) -> None:
        self._domains = tuple(hostname(domain) for domain in domains)
        self._own_hosts = frozenset(hostname(host) for host in own_hosts)
        self._suffixes = tuple("." + domain for domain in self._domains)
        self._mapped = mapped
        prefixes = "|".join(map(re.escape, id_prefixes))
        sandbox = rf"(?:{prefixes})?(?P<id>[a-z][a-z0-9]{{{SANDBOX_ID_LENGTH - 1}}})"
        self._forms = [re.compile(form) for form in (rf"{PORT}-{sandbox}", rf"{sandbox}-{PORT}", rf"{PORT}-{LINK}")]
        self._id = re.compile(sandbox)

    @property
    def domain(self) -> str:
        """The first, without a port."""
        return self._domains[0]

    def by_host(self, host: bytes) -> Target | None:
        """None: this is no preview's name."""
        if len(host) > MAX_HOST or not host.isascii():
            return None
        name = hostname(host.decode("ascii"))
        for suffix in self._suffixes:
            if name.endswith(suffix):
                target = self._by_label(name.removesuffix(suffix))
                if target is not None:
                    return target
        mapping = None if name in self._own_hosts else self._mapped(name)
        return None if mapping is None else Target(mapping.port, mapping.sandbox_id, public=True)

    def by_path(self, url: bytes) -> Target | None:
        found = IN_PATH.match(url)
        if found is None or (port := int(found[2])) > HIGHEST_PORT:
            return None
        word = found[1].decode("ascii")
        if LINK_WORD.fullmatch(word):
            return Target(port, link=word, prefix=found[0])
        sandbox = self._id.fullmatch(word)
        return None if sandbox is None else Target(port, sandbox["id"], prefix=found[0])

    def owns(self, domain: str) -> bool:
        """Whether it is one of our domains or hosts, or below or above one."""
        return any(
            domain == own or domain.endswith("." + own) or own.endswith("." + domain)
            for own in (*self._domains, *self._own_hosts)
        )

    def _by_label(self, label: str) -> Target | None:
        for form in self._forms:
            if found := form.fullmatch(label):
                named = found.groupdict()
                port = int(named["port"])
                return Target(port, named.get("id", ""), named.get("link", "")) if port <= HIGHEST_PORT else None
        return None


def hostname(host: str) -> str:
    """Without port and final dot, in lower case; empty for what is no host."""
    found = ADDRESS.fullmatch(host.strip().lower())
    return found[1].rstrip(".") if found else ""
