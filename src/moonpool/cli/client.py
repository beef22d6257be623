"""How the command line reaches a running server: over HTTP, as every other user does."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

DEFAULT_URL = "http://127.0.0.1:8080"
ENVIRONMENT_FILE = Path("/etc/moonpool/environment")  # written by `moonpool up`, readable by root alone
TIMEOUT = httpx.Timeout(120.0, connect=5.0)  # seconds


class CommandFailed(Exception):
    """Something the user can act on; printed without a traceback."""


@dataclass(frozen=True)
class Target:
    url: str
    api_key: str


def read_environment(path: Path = ENVIRONMENT_FILE) -> dict[str, str]:
    """``NAME=value`` lines; {} where the file is missing or not ours to read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def find_target() -> Target:
    """MOONPOOL_URL and MOONPOOL_API_KEY from the environment, else what `moonpool up` noted."""
    noted = read_environment()
    key = os.environ.get("MOONPOOL_API_KEY") or noted.get("MOONPOOL_API_KEY")
    if not key:
        raise CommandFailed("No API key: set MOONPOOL_API_KEY, or make one with 'moonpool keys create NAME'.")
    listen = noted.get("MOONPOOL_LISTEN")
    url = os.environ.get("MOONPOOL_URL") or (f"http://{listen}" if listen else DEFAULT_URL)
    return Target(url.rstrip("/"), key)


def open_client(target: Target) -> httpx.Client:
    return httpx.Client(
        base_url=target.url, headers={"Authorization": f"Bearer {target.api_key}"}, timeout=TIMEOUT, trust_env=False
    )


def call(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """The decoded answer; raises CommandFailed with the server's own words."""
    try:
        answer = client.request(method, path, **options)
    except httpx.TransportError as error:
        raise CommandFailed(f"{client.base_url} does not answer ({error}). Is 'moonpool serve' running?") from error
    if answer.is_error:
        raise CommandFailed(explain(answer))
    return answer.json() if answer.content else None


def explain(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.reason_phrase}"
    message = document.get("message") if isinstance(document, dict) else None
    return str(message or f"{answer.status_code} {answer.reason_phrase}")
