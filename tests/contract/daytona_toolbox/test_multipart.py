"""Forms, cut into pieces at every place."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonpool.dialects.daytona.toolbox.errors import InvalidBody
from moonpool.dialects.daytona.toolbox.multipart import Multipart, parameters
from moonpool.dialects.daytona.toolbox.transfer import disposition

BOUNDARY = "b0undary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b""
    for name, content in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int) -> list[tuple[str, bytes]]:
    multipart = Multipart(TYPE, pieces(body, size))
    return [(part.name, b"".join([chunk async for chunk in multipart.chunks()])) async for part in multipart.parts()]


CONTENTS = st.lists(
    st.one_of(st.binary(max_size=60), st.sampled_from([b"\r\n--", b"\r\n--b0undar", b"--b0undary", b"\r", b"\r\n"])),
    min_size=1,
    max_size=4,
)


@given(contents=CONTENTS, size=st.integers(1, 50))
async def test_parts_come_out_as_they_went_in(contents: list[bytes], size: int) -> None:
    parts = [(f"p{number}", content) for number, content in enumerate(contents)]
    assert await read(form(*parts), size) == parts


@given(cut=st.integers(1, 120), size=st.integers(1, 50))
async def test_a_form_that_is_cut_anywhere_is_refused(cut: int, size: int) -> None:
    body = form(("one", b"content of one"), ("two", b"content of two")).rstrip()
    with pytest.raises(InvalidBody):
        await read(body[:-cut], size)


async def test_parts_that_are_not_read_are_skipped() -> None:
    multipart = Multipart(TYPE, pieces(form(("one", b"x" * 1000), ("two", b"y")), 64))
    assert [part.name async for part in multipart.parts()] == ["one", "two"]


@given(name=st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_names_survive_our_own_header(name: str) -> None:
    header = disposition("form-data", name="file", filename=name)
    if name.isascii() and name.isprintable() and "%" not in name:
        assert parameters(header) == {"name": "file", "filename": name}
    assert header.isascii()
    assert header.isprintable()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('form-data; name="a"; filename="C:\\dir\\x"', {"name": "a", "filename": "C:\\dir\\x"}),
        ('form-data; name="a"; filename="q%22q"', {"name": "a", "filename": 'q"q'}),
        ("form-data; NAME=a ; filename=b;c", {"name": "a", "filename": "b"}),
        ('form-data; name="unfinished', {"name": "unfinished"}),
        ("form-data", {}),
        (";;;=;", {"": ""}),
    ],
)
def test_headers_of_other_clients(header: str, found: dict[str, str]) -> None:
    assert parameters(header) == found
