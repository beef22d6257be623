"""Names of images, as the command line of Docker reads them."""

import re
from dataclasses import dataclass

from moonpool.errors import InvalidInput

HUB = "docker.io"
HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
MAX_LENGTH = 512  # characters
HOST = re.compile(r"(?=.{1,255}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Reference:
    """``registry`` is host[:port]; ``repository`` has Docker Hub's ``library/`` where it is left out. With a digest the
    tag says nothing."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """The full name, as registries and their clients know it."""
        rest = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{rest}"

    def at(self, digest: str) -> "Reference":
        return Reference(self.registry, self.repository, None, digest)


def parse_reference(text: str) -> Reference:
    """``python:3.12-slim``, ``ghcr.io/me/app@sha256:...``, ``localhost:5000/x``; no tag: ``latest``. InvalidInput."""
    name, _, digest = text.partition("@")
    if len(text) > MAX_LENGTH or (digest and not DIGEST.fullmatch(digest)) or text.endswith("@"):
        raise invalid(text)
    head, slash, rest = name.partition("/")
    has_host = slash and ("." in head or ":" in head or head == "localhost")
    registry, path = (head, rest) if has_host else (HUB, name)
    path, colon, tag = path.partition(":")
    if registry in HUB_ALIASES:
        registry = HUB
        path = path if "/" in path else f"library/{path}"
    valid = HOST.fullmatch(registry) and all(COMPONENT.fullmatch(part) for part in path.split("/"))
    if not valid or (colon and not TAG.fullmatch(tag)):
        raise invalid(text)
    return Reference(registry, path, None if digest else tag or "latest", digest or None)


def invalid(text: str) -> InvalidInput:
    return InvalidInput(f"Invalid image reference: {text[:100]!r}", field="image", hint="Write it as NAME:TAG.")
