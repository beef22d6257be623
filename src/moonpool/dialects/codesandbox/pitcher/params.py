"""What a request's parameters must look like. The SDK's ``undefined`` comes as nil or not at all: both mean absent."""

from collections.abc import Mapping
from typing import Any

from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.guest.model import TerminalSize

DEFAULT_SIZE = TerminalSize(rows=24, cols=80)
LARGEST = 0xFFFF  # rows or columns
MAX_TEXTS = 1000


class Params:
    """Every method raises Failure for a value of the wrong type."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if value is None:
            raise wrong(name, "is missing")
        return value

    def optional_text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise wrong(name, "must be a text")
        return value

    def table(self, name: str) -> "Params":
        """An empty one where there is none."""
        value = self._values.get(name)
        return Params(value if isinstance(value, dict) else {})

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise wrong(name, "must be true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > MAX_TEXTS or not all(isinstance(item, str) for item in value):
            raise wrong(name, f"must be a list of up to {MAX_TEXTS} texts")
        return tuple(value)

    def content(self, name: str) -> bytes:
        value = self._values.get(name)
        if isinstance(value, str):
            return value.encode(errors="replace")
        if not isinstance(value, bytes):
            raise wrong(name, "must be bytes")
        return value

    def size(self) -> TerminalSize | None:
        """Of a terminal; a window that is not laid out yet says 0, which counts as not said."""
        value = self._values.get("size")
        if value is None:
            return None
        numbers = (value.get("rows"), value.get("cols")) if isinstance(value, dict) else ()
        if len(numbers) != 2 or not all(type(number) is int and 0 <= number <= LARGEST for number in numbers):
            raise wrong("size", f"must hold cols and rows from 1 to {LARGEST}")
        rows, columns = numbers
        return TerminalSize(rows, columns) if rows and columns else None


def wrong(name: str, what: str) -> Failure:
    code = Code.INVALID_ID if name.endswith("Id") else Code.CRITICAL_ERROR
    return Failure(code, f"{name} {what}")
