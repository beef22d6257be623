"""What is mailed. Links lead to the address that the operator set, whatever a request says of itself."""

from urllib.parse import quote

from moonpool.access.mail import Mail
from moonpool.access.people import ACTIVATION_LIFETIME, RESET_LIFETIME, Invitation, Team

MINUTE = 60


def activation(web: str, to: str, token: str) -> Mail:
    minutes = int(ACTIVATION_LIFETIME.total_seconds()) // MINUTE
    text = (
        f"Somebody, you it is hoped, made an account with this address at {web}.\n\n"
        f"To activate it within {minutes} minutes, open\n\n{link(web, 'activate', token)}\n\n"
        f"or give this code where you are asked for it:\n\n{token}\n\n"
        "If it was not you, do nothing: the account ends by itself.\n"
    )
    return Mail(to, "Activate your account", text)


def reset(web: str, to: str, token: str) -> Mail:
    minutes = int(RESET_LIFETIME.total_seconds()) // MINUTE
    text = (
        f"A new password was asked for, for your account at {web}.\n\n"
        f"To set one within {minutes} minutes, open\n\n{link(web, 'reset-password', token)}\n\n"
        f"or give this code where you are asked for it:\n\n{token}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n"
    )
    return Mail(to, "Set a new password", text)


def invitation(web: str, invited: Invitation, team: Team) -> Mail:
    """No secret is in it: who accepts must be signed in with the address."""
    text = (
        f"You are invited to the team '{team.name}' at {web}, as {invited.role}.\n\n"
        f"Sign in with this address to accept or decline, until {invited.expires_at:%Y-%m-%d %H:%M} UTC:\n\n"
        f"{web}/login\n"
    )
    return Mail(invited.email, "You are invited to a team", text)


def link(web: str, page: str, token: str) -> str:
    return f"{web}/{page}?token={quote(token, safe='')}"
