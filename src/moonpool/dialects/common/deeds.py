"""From a request's method and path to what was done to what, in words that all APIs share.

What goes on inside a sandbox (commands, files, terminals, its toolbox) is no deed of its own: it would be a thousand
entries a minute that say nothing of the platform, and the sandbox is the user's. Being refused there is one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
VERBS: Mapping[str, str] = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
PASSED_OVER = frozenset({"api", "v1", "auth", "admin", "org"})  # segments that name nothing

# Segments that name what ids follow, or what is made.
RESOURCES: Mapping[str, str] = {
    "api-keys": "api_key",
    "alias": "template_alias",
    "builds": "build",
    "capsules": "sandbox",
    "channels": "channel",
    "deliveries": "webhook_delivery",
    "docker-registry": "registry",
    "endpoints": "webhook_endpoint",
    "hosts": "host",
    "identities": "identity",
    "identity-providers": "identity_provider",
    "invitations": "invitation",
    "mappings": "domain",
    "members": "member",
    "organizations": "team",
    "preview_hosts": "preview_host",
    "providers": "identity_provider",
    "regions": "region",
    "roles": "role",
    "runners": "host",
    "sandbox": "sandbox",
    "secret": "secret",
    "sessions": "session",
    "snapshots": "snapshot",
    "tag": "template",
    "teams": "team",
    "templates": "snapshot",
    "tokens": "token",
    "toolbox": "sandbox",
    "users": "user",
    "vm": "sandbox",
    "vms": "sandbox",
    "volumes": "volume",
    "warm-pools": "warm_pool",
    "webhook-portal": "webhook_portal",
    "workspace": "team",
}
# What is made below a sandbox, and is not an action by its name.
THINGS = frozenset({"backup", "labels", "signing-key", "snapshot", "ssh-access"})
INSIDE = frozenset(
    {
        "await",
        "exec",
        "exec-await",
        "files",
        "last-activity",
        "optimize",
        "ping",
        "processes",
        "pty",
        "systemd",
        "terminals",
        "watch-files",
    }
)


@dataclass(frozen=True)
class Act:
    """``inside``: of a sandbox, see above. ``details`` are what else the path said."""

    action: str
    target_type: str
    target_id: str | None = None
    inside: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


def act_of(method: str, path: str, parameters: Mapping[str, object]) -> Act:
    """``parameters``: those of the route that took the path."""
    resource, target, inside = "", None, False
    words: list[str] = []
    for word, value in pairs(path.strip("/").split("/"), [str(given) for given in parameters.values()]):
        if word in INSIDE or word == "toolbox":
            inside = True
        if word in RESOURCES and (value is not None or not words):
            resource, target, words = RESOURCES[word], value, []
        elif word not in PASSED_OVER:
            words.append(word if value is None else f"{word}={value}")
    action, details = action_of(method, words)
    return Act(action, resource or (words[0] if words else "server"), target, inside, details)


def pairs(segments: Sequence[str], values: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each literal segment and the parameter right after it, where there is one."""
    left, position = list(values), 0
    while position < len(segments):
        word = segments[position]
        following = segments[position + 1] if position + 1 < len(segments) else None
        if following is not None and following in left:
            left.remove(following)
            yield word, following
            position += 2
        else:
            yield word, None
            position += 1


def action_of(method: str, words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """``start`` of ``POST .../start``, ``update_labels`` of ``PUT .../labels``, ``create`` of a bare POST."""
    verb = VERBS.get(method, "read")
    names = [word.partition("=")[0].replace("-", "_") for word in words]
    details = {name: word.partition("=")[2] for name, word in zip(names, words, strict=True) if "=" in word}
    if not names:
        return verb, details
    if method == "POST" and words[-1].partition("=")[0] not in THINGS:
        return "_".join(names), details
    return "_".join([verb, *names]), details
