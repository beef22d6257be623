"""Dockerfiles of a few lines that stand for gigabytes, or for years of matching, are refused before that begins:
without that these tests would not end."""

import pytest

from moonpool.builds.dockerfile import parse
from moonpool.builds.expansion import check_expansion
from moonpool.errors import BuildInvalid

GROWING = "ARG a=aaaaaaaaaa\n" + "ARG a=$a$a$a$a\n" * 15 + "FROM $a"
REPLACING = f"ARG a={'x' * 20_000}\nARG b=${{a//x/{'y' * 20_000}}}\nFROM $b"
STARS = f"ARG a={'a' * 30_000}\nARG b=${{a##{'*a' * 500}b}}\nFROM $b"
STARS_ELSEWHERE = f"ARG a={'a' * 3_000}\nARG b=*a*a*a*a\nARG c=${{a##$b$b$b$b}}\nFROM $c"
NESTED = f"ARG e=\nARG a={'a' * 300}\nARG c=${{a##{'*a${e}' * 30}}}\nFROM $c"


@pytest.mark.parametrize("text", [GROWING, REPLACING, STARS, STARS_ELSEWHERE, NESTED])
def test_what_would_be_too_much(text: str) -> None:
    with pytest.raises(BuildInvalid, match=r"too long|takes too long"):
        parse(text, {})


def test_what_builds_say_is_let_pass() -> None:
    path = ":".join(["/usr/local/some/folder/bin"] * 150)
    variables = {"VERSION": "v1.22.3-bookworm", "PATH": path, "NAME": "*", "EMPTY": ""}
    words = ["${VERSION%%-*}", "${VERSION#v}/${VERSION%.*}/${VERSION##*-}", "${VERSION//./_}", "/app/bin:$PATH"]
    for word in [*words, "${PATH%%:*}", "${EMPTY:-${VERSION}}", "${NAME}", "echo $VERSION\n" * 5_000]:
        check_expansion(word, variables)
    text = "ARG VERSION=1.2.3\nFROM debian:${VERSION%.*} AS a\nRUN echo $VERSION"
    assert parse(text, {}).stages[0].base == "debian:1.2"
