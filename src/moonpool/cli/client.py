"""How the command line reaches a running server: over HTTP, as every other user does."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_ENVIRONMENT_FILE = "/etc/moonpool/environment"  # written by `moonpool up`, readable by root alone
TIMEOUT = httpx.Timeout(120.0, connect=5.0)  # seconds
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  where to find who listens there


class CommandFailed(Exception):
    """Something the user can act on; printed without a traceback."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True)
class Target:
    url: str
    api_key: str


def environment_file() -> Path:
    return Path(os.environ.get("MOONPOOL_ENVIRONMENT_FILE") or DEFAULT_ENVIRONMENT_FILE)


def noted_environment() -> dict[str, str]:
    """The ``NAME=value`` lines that `moonpool up` wrote; {} where there are none or they are not ours to read."""
    try:
        lines = environment_file().read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def find_target() -> Target:
    """MOONPOOL_URL (or MOONPOOL_LISTEN) and MOONPOOL_API_KEY from the environment, else what `moonpool up` noted."""
    known = {**noted_environment(), **{name: value for name, value in os.environ.items() if value}}
    key = known.get("MOONPOOL_API_KEY")
    if not key:
        raise CommandFailed("No API key: set MOONPOOL_API_KEY, or make one with 'moonpool keys create NAME'.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise CommandFailed("MOONPOOL_API_KEY holds characters that no key has.")
    return Target(checked_url(known.get("MOONPOOL_URL") or url_of(known.get("MOONPOOL_LISTEN", DEFAULT_LISTEN))), key)


def url_of(listen: str) -> str:
    """Where a server that listens on ADDRESS:PORT is found from this machine."""
    address, _, port = listen.rpartition(":")
    return f"http://{ANY_ADDRESS.get(address, address)}:{port}"


def checked_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise CommandFailed(f"'{text}' is no address of a server; it looks like http://127.0.0.1:8080")
    return text.rstrip("/")


def open_client(target: Target) -> httpx.Client:
    return httpx.Client(
        base_url=target.url,
        headers={"Authorization": f"Bearer {target.api_key}"},
        timeout=TIMEOUT,
        trust_env=False,
        # Reading the machine's certificates takes a tenth of a command's time, and plain HTTP has no use for them.
        verify=httpx.URL(target.url).scheme != "http",
    )


def call(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """The decoded answer; raises CommandFailed with the server's own words."""
    try:
        answer = client.request(method, path, **options)
    except httpx.TransportError as error:
        raise CommandFailed(f"{client.base_url} does not answer ({error}). Is 'moonpool serve' running?") from error
    if answer.is_error:
        raise CommandFailed(explain(answer))
    try:
        return answer.json() if answer.content else None
    except ValueError:
        raise CommandFailed(f"What answers at {client.base_url} is no Moonpool server.") from None


def explain(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        document = None
    return words_of(document) or f"{answer.status_code} {answer.reason_phrase}"


def words_of(document: object) -> str:
    """The message in an error's document, which stands at its top or one level below; empty where there is none."""
    for part in (document, document.get("error") if isinstance(document, dict) else None):
        if isinstance(part, dict) and isinstance(part.get("message"), str):
            return str(part["message"])
    return ""


def sandbox_path(id_or_name: str) -> str:
    """What was typed stays one segment of the path; CommandFailed for what can be none."""
    if "/" in id_or_name or id_or_name in ("", ".", ".."):
        raise CommandFailed(f"Sandbox with ID or name '{id_or_name}' not found")
    return f"/api/sandbox/{quote(id_or_name, safe='')}"
