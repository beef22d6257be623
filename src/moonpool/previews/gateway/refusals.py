"""Why a request does not reach an app, and what its client is shown: a page to a browser, JSON to all others."""

import html
import json
from http import HTTPStatus

REFRESH = 2  # seconds until a browser looks again
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:34rem;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}p{margin:.5rem 0}code{background:#eee;padding:.1rem .3rem}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}code{background:#333}}"
)


class Refusal(Exception):
    """``again``: it may well work a moment later. ``code`` is stable; no part of it comes from the request."""

    def __init__(self, status: int, code: str, message: str, hint: str = "", *, again: bool = False) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint, self.again = status, code, message, hint, again

    @classmethod
    def bad_request(cls, message: str) -> "Refusal":
        return cls(400, "bad_request", message)

    @classmethod
    def denied(cls) -> "Refusal":
        """The same words for what does not exist, so that nobody can find out what does."""
        hint = "Use a preview link with its token, or send an API key as 'Authorization: Bearer KEY'."
        return cls(401, "preview_denied", "This preview is private, or does not exist", hint)

    @classmethod
    def link_over(cls) -> "Refusal":
        return cls(403, "link_expired", "This link has expired, was revoked, or never was", "Ask for a new link.")

    @classmethod
    def not_running(cls, state: str) -> "Refusal":
        return cls(503, "sandbox_not_running", f"The sandbox is {state}", "Start it, then load this page again.")

    @classmethod
    def starting(cls) -> "Refusal":
        return cls(503, "sandbox_starting", "The sandbox is just starting", "This may take a moment.", again=True)

    @classmethod
    def port_closed(cls, port: int) -> "Refusal":
        hint = "Start the app in the sandbox; this page looks again by itself."
        return cls(502, "port_closed", f"Nothing listens on port {port} in the sandbox", hint, again=True)

    @classmethod
    def unreachable(cls) -> "Refusal":
        return cls(502, "sandbox_unreachable", "The sandbox does not answer", again=True)

    @classmethod
    def closed_early(cls) -> "Refusal":
        return cls(502, "app_closed", "The app closed the connection without an answer")

    @classmethod
    def bad_answer(cls) -> "Refusal":
        return cls(502, "app_bad_answer", "What the app answered is not HTTP")

    @classmethod
    def no_answer(cls, seconds: float) -> "Refusal":
        return cls(504, "app_timeout", f"The app did not answer within {seconds:g} seconds")

    @classmethod
    def unexpected(cls) -> "Refusal":
        return cls(500, "internal_error", "Internal server error")


def answer(refusal: Refusal, *, page: bool, head_only: bool, keep_alive: bool) -> bytes:
    """The whole answer, for the client's connection."""
    body = (html_of(refusal) if page else json_of(refusal)).encode()
    lines = [
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}",
        f"content-type: {'text/html; charset=utf-8' if page else 'application/json'}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'",
    ]
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        lines.append("www-authenticate: Bearer")
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(f"retry-after: {REFRESH}")
    if not keep_alive:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head_only else body)


def json_of(refusal: Refusal) -> str:
    error = {"code": refusal.code, "message": refusal.message}
    return json.dumps({"error": {**error, "hint": refusal.hint} if refusal.hint else error})


def html_of(refusal: Refusal) -> str:
    refresh = f'<meta http-equiv="refresh" content="{REFRESH}">' if refusal.again else ""
    hint = f"<p>{html.escape(refusal.hint)}</p>" if refusal.hint else ""
    message = html.escape(refusal.message)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}<title>{message}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{message}</h1>{hint}<p><code>{refusal.code}</code></p></body></html>\n"
    )
