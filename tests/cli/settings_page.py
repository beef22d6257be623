"""The settings' table in docs/operations.md, made from the settings: `python -m tests.cli.settings_page`."""

from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from moonpool.config import Settings
from moonpool.hosts.settings import GIBIBYTE

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
HEAD = "| variable | default | meaning |\n| --- | --- | --- |\n"


def table() -> str:
    return HEAD + "".join(f"{row(name, field)}\n" for name, field in Settings.model_fields.items())


def row(name: str, field: FieldInfo) -> str:
    choices = [str(choice) for choice in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    meaning = " ".join(filter(None, [field.description, f"One of {', '.join(choices)}." if choices else ""]))
    return f"| `MOONPOOL_{name.upper()}` | {shown(name, field.default)} | {meaning} |"


def shown(name: str, default: object) -> str:
    if default is None or default == ():
        return "none"
    if name.endswith("_bytes") and isinstance(default, int):
        return f"`{default}` ({default // GIBIBYTE} GiB)"
    return f"`{default}`"


def with_table(page: str) -> str:
    """The page, with the table as it has to be."""
    before, _, rest = page.partition(HEAD)
    after = rest.split("\n\n", 1)[1]
    return f"{before}{table()}\n{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
