"""Files as servers are told of them."""

import pytest

from moonpool.errors import InvalidInput
from moonpool.languages.answers import completions_of, symbols_of
from moonpool.languages.documents import path_of, paths_of, uri_of
from moonpool.languages.errors import LanguageNotSupported
from moonpool.languages.model import Completions, command_for
from moonpool.languages.shared import SERVERS_KEPT, Shelf

RANGE = {"start": {"line": 1, "character": 0}, "end": {"line": 2, "character": 0}}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///p/a%20b.py", "/p/a b.py"),
        ("file://src/a.py", "/project/src/a.py"),
        ("src/a.py", "/project/src/a.py"),
        ("/elsewhere/a.py", "/elsewhere/a.py"),
    ],
)
def test_addresses(uri: str, path: str) -> None:
    assert path_of(uri, "/project") == path


def test_a_relative_address_may_begin_at_several_folders() -> None:
    assert paths_of("file://p/a.py", "/home/p", "/home") == ("/home/p/p/a.py", "/home/p/a.py")
    assert paths_of("file:///x/a.py", "/home/p", "/home") == ("/x/a.py",)


def test_an_address_of_nothing() -> None:
    with pytest.raises(InvalidInput):
        path_of("file://", "/project")
    with pytest.raises(InvalidInput):
        path_of("file:///a\0b", "/project")


def test_names_that_need_escaping_come_back() -> None:
    assert path_of(uri_of("/p/ü #?.py"), "/") == "/p/ü #?.py"


def test_the_longest_unused_documents_are_forgotten() -> None:
    shelf = Shelf()
    first = shelf.of("sandbox", "0")
    for number in range(1, SERVERS_KEPT):
        shelf.of("sandbox", str(number))
    assert shelf.of("sandbox", "0") is first
    shelf.of("sandbox", "one more")
    assert shelf.of("sandbox", "0") is first


def test_the_operators_own_servers_go_first() -> None:
    assert command_for("python", {}) == ("pylsp",)
    assert command_for("python", {"python": "pyright-langserver --stdio"}) == ("pyright-langserver", "--stdio")
    with pytest.raises(LanguageNotSupported) as caught:
        command_for("cobol", {"go": "gopls"})
    assert "go, javascript, python, typescript" in str(caught.value.hint)


def test_every_form_of_completions() -> None:
    assert completions_of(None) == Completions(False, ())
    assert completions_of([{"label": "a"}]) == Completions(False, ({"label": "a"},))
    found = completions_of({"isIncomplete": True, "items": [{"label": "a", "documentation": "text"}]})
    assert found.incomplete
    assert found.items[0]["documentation"] == {"kind": "plaintext", "value": "text"}


def test_a_tree_of_symbols_is_a_list() -> None:
    inner = {"name": "b", "kind": 6, "range": RANGE, "selectionRange": RANGE}
    outer = {"name": "a", "kind": 5, "range": RANGE, "selectionRange": RANGE, "children": [inner]}
    assert [(symbol.name, symbol.uri) for symbol in symbols_of([outer], "file:///x")] == [
        ("a", "file:///x"),
        ("b", "file:///x"),
    ]
