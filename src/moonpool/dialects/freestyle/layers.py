"""From the three ways to describe a VM to one chain of layers, checked before anything is made.

``spec``, ``template`` and the request's own fields are one thing here: the request's own are laid over those of the
outermost ``spec``, a ``template`` is the layer below it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moonpool.builds.dockerfile import parse
from moonpool.dialects.freestyle.extensions import GitOptions, Layer, SystemdConfig
from moonpool.dialects.freestyle.files import decoded
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.sizes import check_size
from moonpool.dialects.freestyle.units import patches_of, specs_of
from moonpool.dialects.freestyle.users import check_groups, check_users
from moonpool.errors import BuildError, InvalidInput

MAX_DEPTH = 32
PORTS = (443, 8081)
BASES = ("snapshot", "snapshotId", "baseImage")
SIZES = ("rootfsSizeGb", "memSizeGb", "vcpuCount")
# Not part of what a layer is.
UNHASHED = frozenset({"snapshot", "snapshotId", "baseImage", "skipCache", "persistence"})


@dataclass(frozen=True)
class Plan:
    """``layers``: what becomes snapshots, the innermost first; ``top``: what is done to the VM itself; ``base``: the
    snapshot below them all (None: the default), unless ``image``, a Dockerfile, is."""

    layers: tuple[Layer, ...]
    top: Layer
    base: str | None
    image: str | None = None


def plan_of(request: Layer, spec: Layer | None, template: Layer | None, prefix: str) -> Plan:
    """``prefix`` is "CREATE_VM" or "CREATE_SNAPSHOT", that of a bad request's code."""
    top = merged(spec, own_fields(request)) if spec else own_fields(request)
    chain = unfolded(top)
    if template is not None:
        below = unfolded(template)
        if len(chain) > 1 or (chain[0].snapshotId and below[-1].snapshotId):
            raise InvalidInput("template: cannot be used together with spec.snapshot or snapshotId", field="template")
        chain = [chain[0], *below]
    for depth, layer in enumerate(chain):
        check_layer(layer, depth, prefix)
    base = next((layer.snapshotId for layer in reversed(chain) if layer.snapshotId), None)
    layers = folded(list(reversed(chain)))
    image = next((layer.baseImage.dockerfileContent for layer in reversed(chain) if layer.baseImage), None)
    return Plan(tuple(layers[:-1]), layers[-1], base, image)


def own_fields(request: Layer) -> Layer:
    """The fields that a request shares with layers."""
    given = {name: getattr(request, name) for name in Layer.model_fields if name in request.model_fields_set}
    return Layer.model_construct(set(given), **given)


def unfolded(layer: Layer) -> list[Layer]:
    """The layer, and those below it."""
    chain = [layer]
    while (below := chain[-1].snapshot) is not None:
        if len(chain) >= MAX_DEPTH:
            raise InvalidInput(f"spec: more than {MAX_DEPTH} layers", field="spec")
        chain.append(below)
    return chain


def folded(chain: list[Layer]) -> list[Layer]:
    """Without layers that only say a size or a setting: the one above takes it over."""
    kept: list[Layer] = []
    for layer in chain:
        if kept and not has_content(kept[-1]):
            layer = merged(kept.pop(), layer)
        kept.append(layer)
    return kept


def has_content(layer: Layer) -> bool:
    """Whether there is anything to do inside; else it says a size or settings alone."""
    systemd, git = layer.systemd, layer.git
    return bool(
        layer.users
        or layer.groups
        or layer.additionalFiles
        or layer.gitRepos
        or layer.aptDeps
        or (systemd and (systemd.services or systemd.patchedServices))
        or (git and (git.repos or (git.config and git.config.user)))
        or layer.skipCache
        or layer.discriminator is not None
    )


def needs_setting_up(layer: Layer) -> bool:
    return has_content(layer) or bool(layer.workdir)


def has_size(layer: Layer) -> bool:
    return any(getattr(layer, name) is not None for name in SIZES)


def merged(under: Layer, over: Layer) -> Layer:
    """Both in one: what both say, ``over`` says; lists and files of both are kept."""
    fields = {name: getattr(under, name) for name in Layer.model_fields if name in under.model_fields_set}
    for name in over.model_fields_set:
        value, before = getattr(over, name), fields.get(name)
        fields[name] = value if before is None else joined(before, value)
    return Layer.model_construct(set(fields), **fields)


def joined(before: Any, after: Any) -> Any:
    if after is None:
        return before
    if isinstance(before, list) and isinstance(after, list):
        return [*before, *after]
    if isinstance(before, dict) and isinstance(after, dict):
        return {**before, **after}
    if isinstance(before, SystemdConfig) and isinstance(after, SystemdConfig):
        services = [*(before.services or ()), *(after.services or ())]
        patches = [*(before.patchedServices or ()), *(after.patchedServices or ())]
        return SystemdConfig(services=services, patchedServices=patches)
    if isinstance(before, GitOptions) and isinstance(after, GitOptions):
        return GitOptions(config=after.config or before.config, repos=[*(before.repos or ()), *(after.repos or ())])
    return after


# -- checks ------------------------------------------------------------------------------------------------------------


def check_layer(layer: Layer, depth: int, prefix: str) -> None:
    bases = [name for name in BASES if getattr(layer, name)]
    if len(bases) > 1:
        raise conflicting(depth, *bases[:2])
    if layer.baseImage:
        check_dockerfile(layer.baseImage.dockerfileContent, prefix)
    check_size("CREATE_VM", layer.vcpuCount, layer.memSizeGb, layer.rootfsSizeGb)
    check_groups(layer.groups or ())
    check_users(layer.users or ())
    check_unique([spec.name for spec in specs_of(layer.systemd)])
    patches_of(layer.systemd)
    check_ports(layer)
    check_git(layer)
    for name, file in (layer.additionalFiles or {}).items():
        if not name or name.endswith("/"):
            raise InvalidInput(f"additionalFiles: not a file's path: {name[:200]!r}", field="additionalFiles")
        decoded(file.content, file.encoding)
    for name in layer.aptDeps or ():
        if not name or name.startswith("-") or any(character.isspace() for character in name):
            raise InvalidInput(f"aptDeps: not a package's name: {name[:100]!r}", field="aptDeps")


def conflicting(depth: int, first: str, second: str) -> FreestyleError:
    message = f"Spec layer at depth {depth} has conflicting base sources `{first}` and `{second}`"
    return FreestyleError(400, "CONFLICTING_SPEC_SOURCES_ERROR", message, depth=depth, field_a=first, field_b=second)


def check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FreestyleError(409, "SERVICE_ALREADY_EXISTS", f"Service '{name}' is there twice", service_name=name)
        seen.add(name)


def check_ports(layer: Layer) -> None:
    for mapping in layer.ports or ():
        if mapping.port not in PORTS or not 1 <= mapping.targetPort <= 65535:
            raise InvalidInput("ports: only 443 and 8081 can be open to the outside, to a port from 1 to 65535")


def check_git(layer: Layer) -> None:
    if layer.gitRepos and layer.git and layer.git.repos:
        raise FreestyleError(
            400,
            "INVALID_GIT_REPO_SPEC_ERROR",
            "Cannot specify both root-level `gitRepos` and `git.repos`. Prefer `git.repos`.",
        )
    for repository in (*(layer.gitRepos or ()), *((layer.git.repos if layer.git else None) or ())):
        if not repository.path or "://" not in repository.repo or repository.repo.startswith("-"):
            message = f"A repository needs a URL and a path; this server hosts none itself: {repository.repo[:200]!r}"
            raise InvalidInput(message, field="git")


# -- what identifies a layer -------------------------------------------------------------------------------------------


def template_hash(layer: Layer, base: str) -> str:
    """The same for the same layer on the same base (a snapshot's id)."""
    document: Mapping[str, Any] = layer.model_dump(mode="json", exclude=set(UNHASHED), exclude_none=True)
    text = json.dumps([base, document], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_dockerfile(text: str, prefix: str) -> None:
    """What is wrong in it is told before anything is made."""
    try:
        parse(text, {})
    except (BuildError, InvalidInput) as error:
        raise FreestyleError(400, f"{prefix}_BAD_REQUEST", error.message) from error
