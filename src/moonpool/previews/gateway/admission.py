"""Who is let in to which preview, and with what the request goes on."""

import hmac
from collections import OrderedDict
from dataclasses import dataclass, replace

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService, digest_of
from moonpool.clock import Clock
from moonpool.errors import Unauthorized
from moonpool.previews.doors import Doors
from moonpool.previews.gateway.names import Target
from moonpool.previews.gateway.refusals import Refusal
from moonpool.previews.gateway.request import Head, Offered, Outgoing, is_secure, offered, without_parameters
from moonpool.previews.gateway.seals import LIFETIME, OWN_TOKEN, Seal, sealed, unsealed
from moonpool.previews.gateway.words import COOKIE, Words
from moonpool.sandboxes.model import Sandbox
from moonpool.sandboxes.service import SandboxService

REMEMBERED_STRANGERS = 10_000  # tokens of apps' own that are known to be no keys


@dataclass(frozen=True)
class Admitted:
    """``cookie``: what the answer sets, so that a page's own requests get in as well. ``origin``: a trusted page's,
    that may read the answer. ``embedders``: who may show the page in a frame; None: the app decides."""

    sandbox: Sandbox
    port: int
    out: Outgoing
    cookie: bytes | None = None
    origin: bytes | None = None
    embedders: tuple[str, ...] | None = None


class Admission:
    def __init__(
        self, access: AccessService, sandboxes: SandboxService, doors: Doors, words: Words, key: bytes, clock: Clock
    ) -> None:
        self._access = access
        self._sandboxes = sandboxes
        self._doors = doors
        self._words = words
        self._key = key
        self._clock = clock
        self._strangers: OrderedDict[str, None] = OrderedDict()

    async def admit(self, head: Head, target: Target) -> Admitted:
        """Refusal for who has nothing that opens it; in the same words where there is nothing to open."""
        sandbox_id = target.sandbox_id
        if target.link:
            link = await self._doors.link(target.link, target.port)
            if link is None:
                raise Refusal.link_over()
            sandbox_id = link.sandbox_id
        sandbox = self._sandboxes.peek(sandbox_id)
        if sandbox is None or sandbox.doomed:
            raise Refusal.denied()
        given = offered(head, self._words, cookies=not target.prefix)
        spent, principals = await self._keys(given)
        out = Outgoing(outgoing_url(head.url, target, self._words), spent, target.prefix)
        admitted = Admitted(sandbox, target.port, out)
        if sandbox.public or target.public or target.link:
            return admitted
        return await self._private(head, admitted, given, principals)

    async def _private(
        self, head: Head, admitted: Admitted, given: Offered, principals: tuple[Principal, ...]
    ) -> Admitted:
        sandbox = admitted.sandbox
        hosts = await self._doors.trusted_hosts(sandbox.team_id)
        origin = head.first(b"origin")
        if origin and is_trusted(origin, hosts):
            admitted = replace(admitted, origin=origin)
        admitted = replace(admitted, embedders=hosts or None)
        if any(who.team_id == sandbox.team_id and who.allows(Scope.SANDBOXES_READ) for who in principals):
            return admitted
        for token in given.tokens:
            if await self._opened_by(sandbox, token):
                return admitted
        for token in given.in_query:
            if by := await self._opened_by(sandbox, token):
                # A path on the address of the APIs has no cookies.
                return admitted if admitted.out.prefix else replace(admitted, cookie=self._cookie(head, sandbox, by))
        if given.sealed and await self._still_open(sandbox, given.sealed):
            return admitted
        if admitted.origin and head.method == b"OPTIONS" and head.first(b"access-control-request-method"):
            return admitted  # A browser's question before a request, which carries no token: it is answered here.
        raise Refusal.denied()

    async def _opened_by(self, sandbox: Sandbox, token: str) -> str:
        """What opens the sandbox with this token; empty for nothing."""
        if token and hmac.compare_digest(token.encode(), sandbox.preview_token.encode()):
            return OWN_TOKEN
        found = await self._doors.token(sandbox.id, token) if token else None
        return "" if found is None else found.id

    async def _still_open(self, sandbox: Sandbox, text: str) -> bool:
        now = self._clock.now().timestamp()
        seal = unsealed(text, sandbox.id, self._key, sandbox.preview_token, now)
        if seal is None:
            return False
        return seal.by == OWN_TOKEN or await self._doors.token_by_id(sandbox.id, seal.by) is not None

    def _cookie(self, head: Head, sandbox: Sandbox, by: str) -> bytes:
        seal = Seal(sandbox.id, by, int(self._clock.now().timestamp()) + LIFETIME)
        value = sealed(seal, self._key, sandbox.preview_token).encode()
        # Where it is encrypted a trusted page may show the preview in a frame, and there the cookie must be sent too.
        scope = b"Secure; SameSite=None" if is_secure(head) else b"SameSite=Lax"
        return b"%b=%b; Max-Age=%d; Path=/; HttpOnly; %b" % (COOKIE, value, LIFETIME, scope)

    async def _keys(self, given: Offered) -> tuple[frozenset[bytes], tuple[Principal, ...]]:
        """The headers that hold keys of this server, whoever's: no app is to see one. The rest is the app's own."""
        spent, principals = set(), []
        for name, key in given.keys:
            digest = digest_of(key)
            if digest in self._strangers:
                continue
            try:
                principals.append(await self._access.authenticate(key))
            except Unauthorized as error:
                if type(error) is Unauthorized:
                    self._remember_stranger(digest)
                    continue
            spent.add(name)
        return frozenset(spent), tuple(principals)

    def _remember_stranger(self, digest: str) -> None:
        """A key is random: what was none will be none."""
        self._strangers[digest] = None
        if len(self._strangers) > REMEMBERED_STRANGERS:
            self._strangers.popitem(last=False)


def outgoing_url(url: bytes, target: Target, words: Words) -> bytes:
    url = url[len(target.prefix) :]
    if not url.startswith((b"/", b"*")):
        url = b"/" + url
    return without_parameters(url, words.parameters)


def is_trusted(origin: bytes, hosts: tuple[str, ...]) -> bool:
    """``hosts``: origins, or hosts with any scheme; a host with "*." before it stands for its subdomains."""
    given = origin.decode("latin-1").lower().rstrip("/")
    host = given.partition("://")[2]
    for entry in hosts:
        known = entry.lower().rstrip("/")
        if known in (given, host) or (known.startswith("*.") and host.partition(":")[0].endswith(known[1:])):
            return True
    return False
