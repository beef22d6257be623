"""Names of units: a prefix, perhaps an instance, and a kind."""

import re

SUPPORTED = (".service", ".target", ".timer", ".socket", ".path")
SUFFIXES = (
    ".service", ".target", ".socket", ".timer", ".path", ".mount", ".automount", ".slice", ".device", ".swap", ".scope",
)  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}")


def whole(name: str) -> str:
    """The name with its kind; without one it is a service. ValueError for what is no name."""
    full = name if name.endswith(SUFFIXES) else f"{name}.service"
    if not NAME.fullmatch(full) or full.startswith((".", "@")):
        raise ValueError(f"Invalid unit name: {name[:100]}")
    return full


def prefix_of(name: str) -> str:
    """Without kind and instance."""
    return name.rpartition(".")[0].partition("@")[0]


def instance_of(name: str) -> str:
    """What stands between the at sign and the kind; empty for a template and for what has none."""
    return name.rpartition(".")[0].partition("@")[2]


def template_of(name: str) -> str:
    """The template of an instance; any other name as it is."""
    stem, _, kind = name.rpartition(".")
    return f"{stem.partition('@')[0]}@.{kind}" if "@" in stem else name


def is_template(name: str) -> bool:
    return name.rpartition(".")[0].endswith("@")


def unescaped(text: str) -> str:
    """As a path: dashes are slashes, ``\\xNN`` are characters."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found.group(1), 16)), text.replace("-", "/"))
