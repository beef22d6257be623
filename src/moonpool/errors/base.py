"""What all errors of the domain have in common."""

from typing import Any


class MoonpoolError(Exception):
    """Base of all domain errors; ``code`` is stable, ``message`` is for a human, ``hint`` says what to do next."""

    code = "internal_error"
    default = "Something went wrong"
    default_hint = ""

    def __init__(self, message: str = "", *, hint: str = "", **details: Any) -> None:
        self.message = message or self.default
        self.hint = hint or self.default_hint
        self.details = details
        super().__init__(self.message)
