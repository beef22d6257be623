"""Paths, modes and patterns."""

import pytest

from moonpool.errors import InvalidInput, InvalidPath
from moonpool.files.paths import checked_mode, checked_path, checked_pattern


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("a", "a"),
        ("./a//b/.", "a/b"),
        ("/", "/"),
        ("//x/./y/", "/x/y"),
        (".", "~"),
        ("~/x", "~/x"),
        ("../x/..", "../x/.."),
        ("a b\n", "a b\n"),
    ],
)
def test_paths(path: str, meant: str) -> None:
    assert checked_path(path) == meant


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 4096, "ü" * 2048, "\ud800"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidPath):
        checked_path(path)


@pytest.mark.parametrize(("text", "bits"), [("755", 0o755), ("0644", 0o644), ("0o600", 0o600), ("1777", 0o1777)])
def test_modes(text: str, bits: int) -> None:
    assert checked_mode(text) == bits


@pytest.mark.parametrize("text", ["", "8", "rwx", "77777", "-1", "+7", "7_7", "\u0667\u0665\u0665"])
def test_modes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        checked_mode(text)


@pytest.mark.parametrize("pattern", ["", "a\0", "x" * 5000])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        checked_pattern(pattern)
