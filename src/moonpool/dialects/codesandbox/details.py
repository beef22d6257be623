"""What only this dialect knows of a sandbox, and how it stands in the sandbox's row."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

from moonpool.dialects.codesandbox.mapping import DIALECT
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import Sandbox

MAX_TAGS = 10  # what comes after is left out, as the vendor does
MAX_TAG = 256  # characters
PRIVATE = 2
UNLISTED = 1
WAKES = "automatic_wakeup_config"
TAG = ""  # the value of a label that is a tag


class Image(TypedDict):
    """What a workspace's Dockerfile has become: ``hash`` of the recipe, ``snapshot`` by name."""

    hash: str
    snapshot: str


@dataclass(frozen=True)
class Details:
    """``privacy``: 0 public, 1 unlisted, 2 private; ``private_preview``: whether a private one's ports are private too.
    ``wake_on_*``: what brings a hibernated one back by itself. ``tags`` keeps their order; the labels decide.
    ``image``: what the sandbox is to run in, and does from its next start on where its own snapshot is another."""

    title: str | None = None
    description: str | None = None
    privacy: int = PRIVATE
    private_preview: bool = True
    is_frozen: bool = False
    path: str = "/"
    tags: tuple[str, ...] = ()
    wake_on_http: bool = True
    wake_on_websocket: bool = False
    image: Image | None = None

    @property
    def public(self) -> bool:
        """Whether its ports can be reached without a token."""
        return self.privacy != PRIVATE or not self.private_preview

    @property
    def stored(self) -> dict[str, Any]:
        """As ``dialect_data`` of a sandbox."""
        own = asdict(self)
        wakes = {"http": own.pop("wake_on_http"), "websocket": own.pop("wake_on_websocket")}
        return {DIALECT: {**own, "tags": list(self.tags), WAKES: wakes}}


NAMES = frozenset(field.name for field in fields(Details))


def details_of(sandbox: Sandbox) -> Details:
    """Of a sandbox made through another API: its name as title, what it shows to everybody as unlisted."""
    stored = sandbox.dialect_data.get(DIALECT)
    if stored is None:
        name = None if sandbox.name == sandbox.id else sandbox.name
        privacy = UNLISTED if sandbox.public else PRIVATE
        return Details(title=name, privacy=privacy, tags=tuple(tags_of(sandbox.labels)))
    known = {name: value for name, value in stored.items() if name in NAMES}
    known["tags"] = tuple(ordered(tags_of(sandbox.labels), known.get("tags", ())))
    wakes = stored.get(WAKES, {})
    return Details(**known, **{f"wake_on_{kind}": wanted for kind, wanted in wakes.items()})


def tags_of(labels: Mapping[str, str]) -> list[str]:
    """A tag is a label without a value; labels with one are other APIs' and no tags."""
    return [name for name, value in labels.items() if value == TAG]


def ordered(tags: Iterable[str], order: Iterable[str]) -> list[str]:
    places = {tag: place for place, tag in enumerate(order)}
    return sorted(tags, key=lambda tag: places.get(tag, len(places)))


def first_tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    """The first ten, each once. InvalidInput for one that is empty or too long."""
    found = tuple(dict.fromkeys(tags or ()))[:MAX_TAGS]
    if not all(0 < len(tag) <= MAX_TAG for tag in found):
        raise InvalidInput(f"tags: each has 1 to {MAX_TAG} characters", field="tags")
    return found


def labels_with(tags: Iterable[str], others: Mapping[str, str] | None = None) -> dict[str, str]:
    """Labels that hold these tags, and what other APIs have noted in ``others``."""
    kept = {name: value for name, value in (others or {}).items() if value != TAG}
    return kept | dict.fromkeys(tags, TAG)
