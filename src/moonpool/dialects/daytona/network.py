"""Network settings as Daytona words them, to a policy and back."""

import ipaddress

from moonpool.errors import InvalidInput
from moonpool.hosts.model import NetworkPolicy
from moonpool.sandboxes.validation import check_domain

MAX_NETWORKS = 10
MAX_DOMAINS = 10
OPEN = NetworkPolicy()


def policy(
    current: NetworkPolicy, block_all: bool | None, allow_list: str | None, domain_list: str | None
) -> NetworkPolicy:
    """Blocking everything clears both lists, a list implies that not everything is blocked, false clears what is not
    given, and an empty list is none; what is None stays as it is."""
    if block_all:
        return NetworkPolicy(block_all=True)
    base = OPEN if block_all is False else current
    allow = base.allow if allow_list is None else networks(allow_list)
    named = base.domains if domain_list is None else domains(domain_list)
    given = bool(allow_list and allow) or bool(domain_list and named)
    return NetworkPolicy(base.block_all and not given, allow, named)


def networks(allow_list: str) -> tuple[str, ...] | None:
    """At most ten IPv4 networks with a prefix length, in their canonical form, None for none; raises InvalidInput."""
    parts = split(allow_list)
    if len(parts) > MAX_NETWORKS:
        raise InvalidInput(f"networkAllowList holds at most {MAX_NETWORKS} networks", field="networkAllowList")
    return tuple(network(part) for part in parts) or None


def domains(domain_list: str) -> tuple[str, ...]:
    """At most ten domains, each perhaps with ``*.`` in front; raises InvalidInput."""
    parts = split(domain_list)
    if len(parts) > MAX_DOMAINS:
        raise InvalidInput(f"domainAllowList holds at most {MAX_DOMAINS} domains", field="domainAllowList")
    try:
        return tuple(dict.fromkeys(map(check_domain, parts)))
    except InvalidInput as error:
        message = f"domainAllowList: {error.message}"[:200]
        raise InvalidInput(message, field="domainAllowList", hint=error.hint) from None


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text.strip() else []


def network(text: str) -> str:
    try:
        if "/" not in text:
            raise ValueError
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        message = f"networkAllowList: {text!r} is not an IPv4 network with a prefix length, like 203.0.113.0/24"
        raise InvalidInput(message[:200], field="networkAllowList") from None


def allow_list(current: NetworkPolicy) -> str | None:
    return ",".join(current.allow) if current.allow else None
