"""What an operator sets of accounts."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class SmtpSettings:
    """``security``: TLS from the beginning, after STARTTLS (required, not only offered), or none."""

    host: str
    port: int
    sender: str
    security: Literal["tls", "starttls", "none"]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
