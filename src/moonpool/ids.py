"""Identifiers and secrets: random, url-safe, and legal in a host name where they have to be."""

import secrets
import string
import uuid

LETTERS = string.ascii_lowercase
LETTERS_AND_DIGITS = string.ascii_lowercase + string.digits
SANDBOX_ID_LENGTH = 20  # characters


def new_sandbox_id() -> str:
    """20 characters ``[a-z0-9]``, a letter first: legal in all four APIs and in a host name."""
    return secrets.choice(LETTERS) + random_word(SANDBOX_ID_LENGTH - 1)


def new_instance_id() -> str:
    """20 characters ``[a-z0-9]``: one run of a sandbox, from a start, resume or fork to its end."""
    return random_word(SANDBOX_ID_LENGTH)


def random_word(length: int) -> str:
    """``length`` random characters of ``[a-z0-9]``."""
    number, word = secrets.randbelow(len(LETTERS_AND_DIGITS) ** length), []  # Drawn at once: each request has a word.
    for _ in range(length):
        number, digit = divmod(number, len(LETTERS_AND_DIGITS))
        word.append(LETTERS_AND_DIGITS[digit])
    return "".join(word)


def new_uuid() -> str:
    """A random UUID, for everything that is not a sandbox."""
    return str(uuid.uuid4())
