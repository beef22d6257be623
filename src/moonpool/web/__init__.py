"""Pages for people with a browser: what mailed links and logins lead to. Rendered here, without a script."""

from moonpool.web.app import ALWAYS, PREFIXES, create_app

__all__ = ["ALWAYS", "PREFIXES", "create_app"]
