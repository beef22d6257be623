"""Where clients find a sandbox's agent."""

PITCHER_PREFIX = "/pitcher"
SCHEMES = {"http": "ws", "https": "wss"}


def pitcher_url(origin: str, sandbox_id: str) -> str:
    """Without a slash or a query at its end: clients append ``/?token=...`` or ``?token=...``."""
    scheme, _, host = origin.partition("://")
    return f"{SCHEMES.get(scheme, scheme)}://{host}{PITCHER_PREFIX}/{sandbox_id}"
