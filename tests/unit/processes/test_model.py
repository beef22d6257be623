"""What clients may ask for."""

import math

import pytest

from moonpool.errors import InvalidInput
from moonpool.processes.model import checked_environment, checked_name, checked_text, checked_timeout


@pytest.mark.parametrize("timeout", [None, 0, 0.0])
def test_no_timeout(timeout: float | None) -> None:
    assert checked_timeout(timeout) is None


@pytest.mark.parametrize("timeout", [-1, -0.001, 1e9, math.inf, math.nan])
def test_timeouts_that_are_none(timeout: float) -> None:
    with pytest.raises(InvalidInput):
        checked_timeout(timeout)


@pytest.mark.parametrize("name", ["", "\n", "a\0", "x" * 129, "\x1b[2J"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidInput):
        checked_name(name, "id")


@pytest.mark.parametrize("name", ["a", "ü b/../$(x)", "x" * 128])
def test_names(name: str) -> None:
    assert checked_name(name, "id") == name


@pytest.mark.parametrize("environment", [{"": "a"}, {"A=B": "c"}, {"A\0": "b"}, {"A": "\0"}])
def test_environments_that_are_none(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        checked_environment(environment)


def test_environment_and_text() -> None:
    assert checked_environment(None) == {}
    assert checked_environment({"A": "b=c\n"}) == {"A": "b=c\n"}
    assert checked_text("any\ntext", "command") == "any\ntext"
    with pytest.raises(InvalidInput):
        checked_text("a\0", "command")
