"""What CodeSandbox's clients send to a preview's address, and when such a request wakes a hibernated sandbox."""

from moonpool.dialects.codesandbox.details import WAKES
from moonpool.dialects.codesandbox.mapping import DIALECT
from moonpool.previews.gateway.words import Words
from moonpool.sandboxes.model import Sandbox

WORDS = Words(
    headers=frozenset({b"csb-preview-token"}),
    parameters=frozenset({b"preview_token"}),
    cookies=frozenset({b"csb_preview_token"}),
)


def wakes(sandbox: Sandbox, websocket: bool) -> bool:
    """As its owner has said; else a request does, and a WebSocket only where the sandbox is no CodeSandbox one."""
    stored = sandbox.dialect_data.get(DIALECT)
    if stored is None:
        return True
    wanted = stored.get(WAKES, {})
    return bool(wanted.get("websocket", False) if websocket else wanted.get("http", True))
