"""docs/compatibility.md says what the code does."""

from tests.contract.compatibility import PAGE, page


def test_page_is_current() -> None:
    assert PAGE.read_text() == page()
