"""Who asks: not signed in, or not allowed."""

from moonpool.errors.base import MoonpoolError


class Unauthorized(MoonpoolError):
    code = "unauthorized"
    default = "Invalid credentials"
    default_hint = "Send an API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."


class KeyExpired(Unauthorized):
    code = "key_expired"
    default = "This API key has expired"
    default_hint = "Create a new key with 'moonpool keys create'."


class Forbidden(MoonpoolError):
    code = "forbidden"
    default = "This key may not do that"
    default_hint = "Use a key with the scope that the operation needs."


class WrongPassword(Unauthorized):
    """Also for an account that is none: nobody finds out which there are."""

    code = "wrong_password"
    default = "The address or the password is wrong"
    default_hint = "Look at both; a new password can be set by mail."


class SessionRequired(Unauthorized):
    code = "session_required"
    default = "Nobody is signed in"
    default_hint = "Sign in with a browser; an API key does not do for this."


class PortalClosed(Unauthorized):
    """A link to a team's webhooks, or the visit that it opened: used up, too old, or no longer its maker's to give."""

    code = "portal_closed"
    default = "This link, or the visit that it opened, has ended"
    default_hint = "Ask for a new link where you got this one."


class LoginRefused(Unauthorized):
    """By a provider, or by what it says of who came: ``reason`` is a word for it."""

    code = "login_refused"
    default = "This login is not good here"

    def __init__(self, reason: str = "access_denied") -> None:
        super().__init__()
        self.reason = reason


class CsrfRefused(Forbidden):
    code = "csrf_refused"
    default = "The request does not show that it comes from the page that was signed in"
    default_hint = "Send the value of the CSRF cookie in the CSRF header too."


class SignUpClosed(Forbidden):
    code = "sign_up_closed"
    default = "Nobody can sign up here"
    default_hint = "Ask the operator for an account."


class NotPermitted(Forbidden):
    """By the role in the team, not by the key."""

    code = "not_permitted"
    default = "Only owners and admins of the team may do that"
    default_hint = "Ask one of them."


class LastOwner(NotPermitted):
    code = "last_owner"
    default = "A team keeps at least one owner"
    default_hint = "Make somebody else an owner first, or delete the team."
