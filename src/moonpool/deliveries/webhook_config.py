"""What is kept of a webhook endpoint, and the request that it makes of a message."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from moonpool.deliveries.providers import JSON, Letter, Post, signer
from moonpool.deliveries.signing import signed

OVERLAP = timedelta(hours=24)  # in which the secret before still signs
URL, SECRET, OLD_SECRET, OLD_UNTIL = "url", "secret", "old_secret", "old_until"


def rotated(config: Mapping[str, str], secret: str, now: datetime) -> dict[str, str]:
    """With the new secret, and the old one for a while."""
    kept = {URL: config[URL], OLD_SECRET: config[SECRET], OLD_UNTIL: (now + OVERLAP).isoformat()}
    return {**kept, SECRET: secret}


def posted(config: Mapping[str, str], letter: Letter) -> Post:
    secrets = [config[SECRET]]
    if OLD_SECRET in config and letter.at < datetime.fromisoformat(config[OLD_UNTIL]):
        secrets.append(config[OLD_SECRET])
    headers = signed(letter.message_id, letter.at, letter.body, [signer(secret) for secret in secrets])
    return Post("POST", config[URL], JSON | headers, letter.body.encode())
