"""What a sandbox may be asked to be."""

import math
import re
from collections.abc import Mapping
from dataclasses import astuple, replace
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from moonpool.access.model import TeamLimits
from moonpool.errors import InvalidInput, LimitExceeded
from moonpool.hosts.model import NetworkPolicy, Resources
from moonpool.ids import SANDBOX_ID_LENGTH
from moonpool.sandboxes.model import Timers
from moonpool.store.text import storable

MAX_NAME = 255  # characters
NO_NAMES = ("", ".", "..")  # clients leave these out of addresses
MAX_LABELS = 64
MAX_LABEL_KEY = 256  # characters
MAX_LABEL_VALUE = 1024  # characters
MAX_ENV_ENTRIES = 1024
MAX_ENV_BYTES = 128 * 1024  # of one entry: the kernel takes no longer one
MAX_ENV_TOTAL_BYTES = 512 * 1024
MAX_TIMER = 10 * 365 * 24 * 3600.0  # seconds
MAX_NETWORKS = 100
MAX_DOMAINS = 100
MAX_DOMAIN = 253  # characters
MAX_BYTES = 2**62
MAX_PRIORITY = 10  # of what is evicted
USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}")
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
DOMAIN = re.compile(rf"(?:\*\.)?(?:{LABEL}\.)+(?!\d+$){LABEL}")
ID = re.compile(rf"[a-z][a-z0-9]{{{SANDBOX_ID_LENGTH - 1}}}")


def check_id(sandbox_id: str) -> str:
    if not ID.fullmatch(sandbox_id):
        raise InvalidInput("Invalid sandbox id", field="id")
    return sandbox_id


def check_name(name: str) -> str:
    odd = name in NO_NAMES or "/" in name or name != name.strip() or not name.isprintable()
    if odd or len(name) > MAX_NAME:
        message = f"A name has 1 to {MAX_NAME} printable characters, no '/', no space at its ends, and is not '..'"
        raise InvalidInput(message, field="name")
    return check_text(name, "name")


def check_user(user: str) -> str:
    if not USER.fullmatch(user):
        raise InvalidInput("Invalid user name", field="user")
    return user


def check_env(env: Mapping[str, str]) -> dict[str, str]:
    if len(env) > MAX_ENV_ENTRIES:
        raise InvalidInput(f"At most {MAX_ENV_ENTRIES} environment variables", field="env")
    total = 0
    for name, value in env.items():
        if not name or "=" in name:
            raise InvalidInput("The name of an environment variable is not empty and has no '='", field="env")
        size = len(check_text(name, "env").encode()) + len(check_text(value, "env").encode()) + 2
        total += size
        if size > MAX_ENV_BYTES:
            raise InvalidInput(f"Environment variable {name[:64]} is longer than {MAX_ENV_BYTES} bytes", field="env")
    if total > MAX_ENV_TOTAL_BYTES:
        raise InvalidInput(f"The environment is larger than {MAX_ENV_TOTAL_BYTES} bytes", field="env")
    return dict(env)


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"At most {MAX_LABELS} labels", field="labels")
    for key, value in labels.items():
        if not key or len(key) > MAX_LABEL_KEY:
            raise InvalidInput(f"A label's key has 1 to {MAX_LABEL_KEY} characters", field="labels")
        if len(value) > MAX_LABEL_VALUE:
            raise InvalidInput(f"A label's value has at most {MAX_LABEL_VALUE} characters", field="labels")
        check_text(key, "labels")
        check_text(value, "labels")
    return dict(labels)


def check_text(text: str, field: str) -> str:
    if not storable(text):
        raise InvalidInput("NUL and lone surrogates are not allowed", field=field)
    return text


def check_timers(timers: Timers) -> Timers:
    threshold = timers.activity_bytes
    if threshold is not None and not 0 <= threshold <= MAX_BYTES:
        raise InvalidInput(f"A threshold is 0 to {MAX_BYTES} bytes", field="timers")
    for value in astuple(replace(timers, activity_bytes=None)):
        if value is not None and not 0 <= value <= MAX_TIMER:
            raise InvalidInput(f"A time is 0 to {MAX_TIMER:.0f} seconds", field="timers")
    return timers


def check_priority(priority: int | None) -> int | None:
    if priority is not None and not 0 <= priority <= MAX_PRIORITY:
        raise InvalidInput(f"A priority is 0 to {MAX_PRIORITY}", field="priority")
    return priority


def check_network(network: NetworkPolicy) -> NetworkPolicy:
    """The same with its CIDRs and domains in their usual form."""
    if len(network.domains) > MAX_DOMAINS:
        raise InvalidInput(f"At most {MAX_DOMAINS} domains", field="network")
    domains = tuple(dict.fromkeys(map(check_domain, network.domains)))
    if network.allow is None:
        return replace(network, domains=domains)
    if len(network.allow) > MAX_NETWORKS:
        raise InvalidInput(f"At most {MAX_NETWORKS} networks", field="network")
    try:
        allow = tuple(str(IPv4Network(entry.strip(), strict=False)) for entry in network.allow)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise InvalidInput(f"Not an IPv4 network: {error}", field="network") from error
    return NetworkPolicy(network.block_all, allow, domains)


def check_domain(text: str) -> str:
    """A domain, or ``*.`` and one, in lower case; InvalidInput."""
    domain = text.strip().lower().removesuffix(".")
    if not DOMAIN.fullmatch(domain) or len(domain) > MAX_DOMAIN:
        message, hint = f"Not a domain: {text[:MAX_DOMAIN]!r}", "Use names such as example.com or *.example.com."
        raise InvalidInput(message, field="network", hint=hint)
    return domain


def check_resources(resources: Resources, limits: TeamLimits) -> Resources:
    """InvalidInput where nothing could run with it, LimitExceeded above what the team may have in one sandbox."""
    checks = (
        ("cpu", "CPU", resources.cpu, limits.cpu, "cores"),
        ("memory", "Memory", resources.memory_mib, limits.memory_mib, "MiB"),
        ("disk", "Disk", resources.disk_mib, limits.disk_mib, "MiB"),
    )
    for field, title, value, limit, unit in checks:
        if not math.isfinite(value) or value <= 0:
            raise InvalidInput(f"{title} must be more than 0", field=field)
        if limit is not None and value > limit:
            raise LimitExceeded(
                f"{title} request {value:g} {unit} exceeds maximum allowed per sandbox ({limit:g} {unit})",
                hint="Ask for less, or ask the operator to raise the limit.",
                field=field,
            )
    return resources
