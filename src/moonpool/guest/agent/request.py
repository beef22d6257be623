"""Checked access to the fields of a request: nothing in the agent trusts their types or sizes."""

import math
from typing import Any

from .errors import AgentError

MAX_PATH = 4095  # bytes, as the kernel's PATH_MAX without its end


class Request:
    """A request's document and the bytes that came with it."""

    def __init__(self, document: dict[str, Any], body: bytes) -> None:
        self._document = document
        self.body = body

    def _get(self, name: str, kinds: type | tuple[type, ...]) -> Any:
        value = self._document.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            raise AgentError("invalid_input", f"{name}: not of the right type")
        return value

    def optional_text(self, name: str) -> str | None:
        value = self._get(name, str)
        if value is None:
            return None
        return _checked(name, value)

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if value is None:
            raise AgentError("invalid_input", f"{name}: missing")
        return value

    def path(self, name: str) -> str:
        return check_path(self._get(name, str))

    def texts(self, name: str) -> list[str]:
        values = self._get(name, list) or []
        return [_checked(name, value) for value in values]

    def table(self, name: str) -> dict[str, str]:
        values: dict[str, Any] = self._get(name, dict) or {}
        for key, value in values.items():
            _checked(name, value)
            if "=" in _checked(name, key) or not key:
                raise AgentError("invalid_input", f"{name}: not a name: {key[:80]!r}")
        return values

    def documents(self, name: str) -> list[dict[str, Any]]:
        """Objects with a ``name`` and a ``text`` at least."""
        values = self._get(name, list) or []
        for value in values:
            if not isinstance(value, dict):
                raise AgentError("invalid_input", f"{name}: not a list of objects")
            _checked(name, value.get("name")), _checked(name, value.get("text"))
        return list(values)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._get(name, bool)
        return default if value is None else bool(value)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self._get(name, int)
        if value is None:
            value = default
        if value is None or not low <= value <= high:
            raise AgentError("invalid_input", f"{name}: must be between {low} and {high}")
        return int(value)

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        return None if self._document.get(name) is None else self.integer(name, low, high)

    def seconds(self, name: str) -> float | None:
        return self.amount(name, " of seconds")

    def amount(self, name: str, unit: str = "") -> float | None:
        value = self._get(name, (int, float))
        if value is None:
            return None
        if not math.isfinite(value) or not 0 < value <= 1e11:
            raise AgentError("invalid_input", f"{name}: must be a positive number{unit}")
        return float(value)

    def selector(self) -> int | str:
        value = self._get("selector", (int, str))
        if value is None:
            raise AgentError("invalid_input", "selector: missing")
        return value  # type: ignore[no-any-return]


def _checked(name: str, value: object) -> str:
    """A text that can be given to the kernel: bytes that are no Unicode come as lone low surrogates."""
    if not isinstance(value, str):
        raise AgentError("invalid_input", f"{name}: not a text")
    if "\0" in value:
        raise AgentError("invalid_input", f"{name}: contains a NUL character")
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise AgentError("invalid_input", f"{name}: is not valid Unicode") from error
    return value


def check_path(value: object) -> str:
    """A path that can be given to the kernel; AgentError otherwise."""
    if not isinstance(value, str) or not value:
        raise AgentError("invalid_path", "the path is empty")
    if "\0" in value:
        raise AgentError("invalid_path", "the path contains a NUL character")
    try:
        size = len(value.encode(errors="surrogateescape"))
    except UnicodeEncodeError as error:
        raise AgentError("invalid_path", "the path is not valid Unicode") from error
    if size > MAX_PATH:
        raise AgentError("invalid_path", f"the path is longer than {MAX_PATH} bytes")
    return value
