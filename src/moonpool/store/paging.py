"""Pages of a listing, and the opaque cursors that lead from one to the next."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from moonpool.errors import InvalidInput

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """``next_cursor`` None: nothing follows. ``total`` counts all matches, where a page number was asked for."""

    items: tuple[Item, ...]
    next_cursor: str | None = None
    total: int | None = None


def encode_cursor(*parts: Any) -> str:
    """An opaque, url-safe word for JSON-able parts."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[Any]:
    """The parts of a cursor made by ``encode_cursor``; InvalidInput for anything else."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidInput("Invalid cursor", field="cursor") from error
    if not isinstance(parts, list) or len(parts) != length:
        raise InvalidInput("Invalid cursor", field="cursor")
    return parts
