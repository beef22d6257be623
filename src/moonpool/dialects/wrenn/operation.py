"""One operation of the contract."""

from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """What the contract asks for: an API key, a browser session, a host's token, or nothing."""

    KEY = "key"
    SESSION = "session"
    HOST = "host"
    PUBLIC = "public"


@dataclass(frozen=True)
class Operation:
    """``socket``: the path takes a WebSocket instead of a plain request."""

    id: str
    method: str
    path: str
    access: Access
    socket: bool = False
