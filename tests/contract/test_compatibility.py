"""docs/compatibility.md says what the records say, and these agree with what the dialects offer."""

import pytest
from fastapi.routing import APIRoute

from moonpool.dialects.daytona.operations import UNSUPPORTED
from moonpool.dialects.freestyle.app import HANDLERS
from moonpool.dialects.freestyle.operations import OPERATIONS as FREESTYLE
from moonpool.dialects.wrenn import ROUTERS
from moonpool.dialects.wrenn.unavailable import Unavailable, remaining
from tests.contract import record
from tests.contract.compatibility import PAGE, operations, page, shown
from tests.contract.notes import NOTES, REFUSED


def missing(key: str) -> set[str]:
    """What the dialect's own table says that it does not offer."""
    match key:
        case "daytona":
            return {" ".join(text.split()[:2]) for texts in UNSUPPORTED.values() for text in texts}
        case "wrenn":
            return missing_of_wrenn()
        case "freestyle":
            return {f"{each.method} {each.path}" for each in FREESTYLE if each.id not in HANDLERS}
    return set()


def missing_of_wrenn() -> set[str]:
    served = [route for module in ROUTERS for route in module.router.routes]
    return {
        f"{method} {route.path}"
        for route in remaining(served).routes
        if isinstance(route, APIRoute) and isinstance(getattr(route.endpoint, "__self__", None), Unavailable)
        for method in route.methods
    }


def test_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.contract.compatibility --page"


@pytest.mark.parametrize("key", sorted(operations()))
def test_what_is_offered_has_been_shown_to_work(key: str) -> None:
    """Write a contract test of it, and run: python -m tests.contract.compatibility <its folder>"""
    offered = set(operations()[key]) - missing(key)
    assert offered - shown()[key] == set()
    assert shown()[key] - offered == set(), "the dialect's table says that these are not offered"


@pytest.mark.parametrize("key", sorted(operations()))
def test_notes_are_of_operations_that_work(key: str) -> None:
    assert set(NOTES[key]) <= shown()[key]


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_is_refused_is_refused(key: str) -> None:
    assert set(REFUSED[key]) <= missing(key) & set(operations()[key])


def test_records_tell_of_operations() -> None:
    known = {f"{key} {operation}" for key, named in operations().items() for operation in named}
    for home in record.homes():
        assert record.kept(home) <= known
