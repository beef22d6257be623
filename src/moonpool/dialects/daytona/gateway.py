"""What Daytona's clients send to a preview's address, beside the request itself."""

from moonpool.previews.gateway.words import Words

COOKIE = "daytona-sandbox-auth-"

WORDS = Words(
    headers=frozenset({b"x-daytona-preview-token"}),
    parameters=frozenset({b"DAYTONA_SANDBOX_AUTH_KEY"}),
    cookies=frozenset({f"{COOKIE}*".encode(), b"daytona-preview-page-accepted"}),
    stripped=frozenset({b"x-daytona-skip-preview-warning", b"x-daytona-disable-cors"}),
    unnoticed=frozenset({b"x-daytona-skip-last-activity-update"}),
)
