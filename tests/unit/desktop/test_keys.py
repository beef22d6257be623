"""Names of keys."""

import pytest

from moonpool.desktop.controls import held
from moonpool.desktop.keys import combination, keysym, modifier
from moonpool.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("enter", "Return"),
        ("Return", "Return"),
        ("ESC", "Escape"),
        ("ctrl", "ctrl"),
        ("Command", "super"),
        ("f5", "F5"),
        ("a", "a"),
        ("A", "A"),
        ("+", "U002B"),
        ("-", "U002D"),
        ("ü", "U00FC"),
        ("€", "U20AC"),
        (" ", "space"),
        ("KP_Add", "KP_Add"),
        ("ArrowLeft", "Left"),
    ],
)
def test_names_that_people_write(name: str, expected: str) -> None:
    assert keysym(name) == expected


@pytest.mark.parametrize("name", ["", "a b", "--help", "x" * 65, "Return;rm", "\0", "\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidInput):
        keysym(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ctrl+c", "ctrl+c"), ("cmd+Shift+t", "super+shift+t"), ("ctrl++", "ctrl+U002B"), ("Return", "Return")],
)
def test_combinations(text: str, expected: str) -> None:
    assert combination(text) == expected


@pytest.mark.parametrize("text", ["", "+", "ctrl+", "ctrl++x", "+c"])
def test_combinations_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        combination(text)


def test_modifiers_are_let_go_in_turn() -> None:
    keys = ("keydown", "ctrl", "keydown", "alt", "click", "1", "keyup", "alt", "keyup", "ctrl")
    assert held(["ctrl", "option"], ["click", "1"]) == keys
    with pytest.raises(InvalidInput):
        modifier("hyper")
