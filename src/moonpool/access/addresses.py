"""Mail addresses and names of people, as they are kept."""

import email_validator

from moonpool.errors import InvalidInput
from moonpool.store.text import storable

MAX_NAME, MAX_EMAIL = 100, 254  # characters

# Companies name their own networks so, whatever RFC 6762 has it for.
email_validator.SPECIAL_USE_DOMAIN_NAMES.remove("local")


def valid_email(address: str) -> str:
    """In small letters, since hardly a mail server tells them apart; InvalidInput. Names without a dot, as of a
    company's own network, are good."""
    wrong = InvalidInput("email: this is no mail address", field="email")
    if len(address) > MAX_EMAIL or not storable(address):
        raise wrong
    try:
        parsed = email_validator.validate_email(address, check_deliverability=False, globally_deliverable=False)
    except email_validator.EmailNotValidError:
        raise wrong from None
    return parsed.normalized.lower()


def asked_email(address: str) -> str:
    """What to look for, where a wrong address is like one that nobody has."""
    try:
        return valid_email(address)
    except InvalidInput:
        return ""


def valid_person(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"name: 1 to {MAX_NAME} printable characters", field="name")
    return name
