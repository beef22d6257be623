"""From templates to answers: every value is escaped, and the headers keep a page to itself."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from moonpool import errors
from moonpool.dialects.common.retry import retry_after
from moonpool.errors import MoonpoolError

STYLE = files("moonpool.web").joinpath("templates/style.css").read_text()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{STYLE_HASH}'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# The origin alone as Referer: addresses hold tokens, and without any a form would not say where it comes from.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "strict-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
TEMPLATES = Environment(
    loader=PackageLoader("moonpool.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PROVIDERS: Mapping[str, str] = {"github": "GitHub", "oidc": "your organization"}
TEMPLATES.globals["provider_names"] = PROVIDERS
TEMPLATES.globals["style"] = Markup(STYLE)  # noqa: S704  (a file of this package)

# The nearest class of an error counts.
STATUSES: Mapping[type[MoonpoolError], int] = {
    MoonpoolError: 500,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.InvalidInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LimitExceeded: 409,
    errors.RateLimited: 429,
    errors.TooLarge: 413,
    errors.NotSupported: 501,
    errors.ProviderFailed: 502,
    errors.MailFailed: 503,
}


def page(template: str, status: int = 200, /, error: MoonpoolError | None = None, **values: Any) -> Response:
    """``error`` is told on it, and gives it its status."""
    headers = dict(HEADERS)
    if error is not None:
        status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        headers.update(retry_after(error))
    text = TEMPLATES.get_template(f"{template}.html").render(error=error, **values)
    return HTMLResponse(text, status, headers)


def message(title: str, text: str, *, to: str = "", link: str = "", status: int = 200) -> Response:
    """A page that says one thing, with a link to what may come next."""
    return page("message", status, title=title, text=text, to=to, link=link)
