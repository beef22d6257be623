"""What both databases can hold."""


def storable(text: str) -> bool:
    """Whether a database can hold it: PostgreSQL refuses NUL, both refuse lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
