"""For the scenarios, which run where there is no pytest."""

from collections.abc import Callable
from typing import TypeVar

Error = TypeVar("Error", bound=Exception)


def raised(kind: type[Error], call: Callable[[], object], status: int | None = None) -> Error:
    """What ``call`` raises, which must be of this kind and, where one is given, with this HTTP status."""
    found = exception_of(kind, call)
    assert found is not None, f"{kind.__name__} was not raised"
    assert status is None or found.status_code == status, (found.status_code, str(found))
    return found


def exception_of(kind: type[Error], call: Callable[[], object]) -> Error | None:
    try:
        call()
    except kind as error:
        return error
    return None
