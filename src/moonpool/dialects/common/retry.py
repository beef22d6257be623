"""What an answer that refuses for now tells of when to ask again."""

from collections.abc import Mapping

from moonpool.errors import MoonpoolError, RateLimited


def retry_after(error: MoonpoolError) -> Mapping[str, str]:
    """``Retry-After`` in seconds where the error says when; else nothing."""
    seconds = error.details.get("retry_after") if isinstance(error, RateLimited) else None
    return {} if seconds is None else {"Retry-After": str(seconds)}
