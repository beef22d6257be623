"""How a message is put to each kind of receiver: one HTTP request, from its opened configuration."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook

from moonpool.deliveries.model import Provider
from moonpool.deliveries.repository import as_text
from moonpool.deliveries.signing import PREFIX, check_secret, signed
from moonpool.errors import InvalidInput

MAX_VALUE = 4096  # characters of a field of a configuration
MAX_TEXT = 1900  # characters of a message; Discord takes 2,000
URL, SECRET = "url", "secret"
WEBHOOK_URL = {"webhook_url"}
FIELDS: Mapping[Provider, set[str]] = {
    Provider.WEBHOOK: {URL},
    Provider.DISCORD: WEBHOOK_URL,
    Provider.SLACK: WEBHOOK_URL,
    Provider.TEAMS: WEBHOOK_URL,
    Provider.GOOGLECHAT: WEBHOOK_URL,
    Provider.TELEGRAM: {"bot_token", "chat_id"},
    Provider.MATRIX: {"homeserver_url", "access_token", "room_id"},
}
OPTIONAL: Mapping[Provider, set[str]] = {Provider.WEBHOOK: {SECRET}}
ADDRESSES = ("url", "webhook_url", "homeserver_url")
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "bot_token": re.compile(r"\d{1,20}:[A-Za-z0-9_-]{10,100}"),
    "chat_id": re.compile(r"-?\d{1,20}|@[A-Za-z0-9_]{1,64}"),
    "room_id": re.compile(r"![^\s/?#]{1,255}"),
}

Check = Callable[[str, str], Awaitable[str]]


@dataclass(frozen=True)
class Letter:
    """``text`` is for humans, ``body`` the JSON for programs."""

    message_id: str
    at: datetime
    text: str
    body: str


@dataclass(frozen=True)
class Post:
    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes


async def checked(provider: Provider, config: Mapping[str, str], check: Check) -> dict[str, str]:
    """The configuration as it is kept; InvalidInput for fields that are missing, unknown or wrong."""
    missing = FIELDS[provider] - config.keys()
    unknown = config.keys() - FIELDS[provider] - OPTIONAL.get(provider, set())
    if missing or unknown:
        told = ", ".join(sorted(missing or unknown))[:100]
        wrong = f"{told} is missing" if missing else f"unknown: {told}"
        names = ", ".join(sorted(FIELDS[provider]))
        raise InvalidInput(f"config: {wrong}", field="config", hint=f"A {provider} channel takes {names}.")
    kept = {}
    for name, value in config.items():
        field = f"config.{name}"
        if not value or len(value) > MAX_VALUE or not value.isprintable() or not value.isascii():
            raise InvalidInput(f"{field}: 1 to {MAX_VALUE} printable ASCII characters", field=field)
        if name in PATTERNS and not PATTERNS[name].fullmatch(value):
            raise InvalidInput(f"{field}: not of the form that {provider} has", field=field)
        kept[name] = await check(value, field) if name in ADDRESSES else value
        if name == SECRET and value.startswith(PREFIX):
            check_secret(value)
    return kept


def put(provider: Provider, config: Mapping[str, str], letter: Letter, telegram: str) -> Post:
    """``telegram``: the address of the bot API."""
    match provider:
        case Provider.WEBHOOK:
            headers = signed(letter.message_id, letter.at, letter.body, [signer(config[SECRET])])
            return Post("POST", config[URL], JSON | headers, letter.body.encode())
        case Provider.TELEGRAM:
            url = f"{telegram.rstrip('/')}/bot{config['bot_token']}/sendMessage"
            return post(url, {"chat_id": config["chat_id"], "text": letter.text})
        case Provider.MATRIX:
            room, transaction = quote(config["room_id"], safe=""), quote(letter.message_id, safe="")
            base = config["homeserver_url"].rstrip("/")
            url = f"{base}/_matrix/client/v3/rooms/{room}/send/m.room.message/{transaction}"
            headers = {"Authorization": f"Bearer {config['access_token']}"}
            return post(url, {"msgtype": "m.notice", "body": letter.text}, method="PUT", headers=headers)
        case Provider.DISCORD:
            return post(config["webhook_url"], {"content": letter.text, "allowed_mentions": {"parse": []}})
        case Provider.SLACK:
            text = letter.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            return post(config["webhook_url"], {"text": text})
        case Provider.GOOGLECHAT:
            return post(config["webhook_url"], {"text": letter.text})
        case Provider.TEAMS:
            return post(config["webhook_url"], card(letter.text))


JSON = {"Content-Type": "application/json", "User-Agent": "Moonpool-Webhooks/1"}


def post(url: str, body: Any, *, method: str = "POST", headers: Mapping[str, str] | None = None) -> Post:
    return Post(method, url, JSON | dict(headers or {}), json.dumps(body).encode())


def card(text: str) -> dict[str, Any]:
    """Both of Teams' ways of incoming webhooks take an adaptive card."""
    content = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": text, "wrap": True}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
    return {"type": "message", "attachments": [attachment]}


def signer(secret: str) -> Webhook:
    """A user's own word is taken as it is, where it is no secret of the usual form."""
    return Webhook(secret) if secret.startswith(PREFIX) else Webhook(secret.encode())


def spoken(message_type: str, body: Mapping[str, Any]) -> str:
    """A message for humans, in one or two lines."""
    resource = body.get("resource") or {}
    parts = [f"[Moonpool] {message_type}"]
    if resource.get("id"):
        parts.append(f"{resource.get('type', 'resource')} {resource['id']}")
    if body.get("outcome"):
        parts.append(str(body["outcome"]))
    if body.get("error"):
        parts.append(str(body["error"]))
    return ": ".join(parts)[:MAX_TEXT]


def letter_of(message_id: str, at: datetime, message_type: str, body: str) -> Letter:
    return Letter(message_id, at, spoken(message_type, json.loads(body)), body)


def test_body(now: datetime) -> str:
    return as_text({"event": "test", "timestamp": now.isoformat(), "metadata": {"message": "A test, as asked for"}})
