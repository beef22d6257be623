"""The dialect's tables, held against the contract and the core; the models, against the command that makes them."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.access.model import ALL_SCOPES, Scope
from moonpool.dialects.codesandbox.creation import alias_of
from moonpool.dialects.codesandbox.details import first_tags, labels_with, tags_of
from moonpool.dialects.codesandbox.mapping import SCOPES, SIZES, STATUSES, status_of, wire_scopes
from moonpool.dialects.codesandbox.schemas import Scope as WireScope
from moonpool.dialects.codesandbox.schemas import Tier
from moonpool.dialects.common.origin import origin
from tests.contract.known_errors import every_error

REPOSITORY = Path(__file__).parents[3]
MODELS = REPOSITORY / "src/moonpool/dialects/codesandbox/schemas.py"
COMMAND = "#   command:   datamodel-codegen "
FIXED_WORDS = {403, 404, 502, 503}  # statuses whose text the SDK does not show


def test_models_are_up_to_date(tmp_path: Path) -> None:
    (line,) = [line for line in MODELS.read_text().splitlines() if line.startswith(COMMAND)]
    *arguments, output = shlex.split(line.removeprefix(COMMAND))
    assert output == str(MODELS.relative_to(REPOSITORY))
    made = tmp_path / "schemas.py"
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)  # The length of lines stands there.
    command = [sys.executable, "-m", "datamodel_code_generator", *arguments, str(made)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120, capture_output=True)
    assert without_header(made.read_text()) == without_header(MODELS.read_text())


def without_header(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


@pytest.mark.parametrize("error", every_error())
def test_every_error_has_a_status(error: type[errors.MoonpoolError]) -> None:
    assert 400 <= status_of(error()) <= 599


def test_fixed_words_fit() -> None:
    """The SDK says "Sandbox not found", "Unauthorized" and "overloaded" for these, whatever the text."""
    fixed = {error for error, status in STATUSES.items() if status in FIXED_WORDS}
    assert fixed == {errors.NotFound, errors.Forbidden, errors.NoCapacity}


def test_every_tier_has_a_size() -> None:
    assert set(SIZES) == set(Tier)
    sizes = list(SIZES.values())
    assert sizes == sorted(sizes, key=lambda size: (size.cpu, size.memory_gib, size.disk_gib))


def test_scopes_go_both_ways() -> None:
    assert set(SCOPES) == set(WireScope)
    for wire, ours in SCOPES.items():
        assert wire.value in wire_scopes(ours)
    assert wire_scopes(ALL_SCOPES) == [wire.value for wire in WireScope]
    assert wire_scopes(frozenset({Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ})) == ["sandbox_read"]
    assert wire_scopes(frozenset()) == []


def test_tags_and_labels() -> None:
    labels = labels_with(("a", "b"), {"old": "", "language": "python"})
    assert labels == {"language": "python", "a": "", "b": ""}
    assert tags_of(labels) == ["a", "b"]
    assert first_tags([str(number) for number in range(20)] * 2) == tuple(str(number) for number in range(10))


def test_aliases_are_legal_in_addresses() -> None:
    assert alias_of("abc", None) == "abc"
    assert alias_of("abc", "Grüße & Co!") == "gr-e-co-abc"
    assert alias_of("abc", "?!") == "abc"
    assert len(alias_of("abc", "x" * 255)) == 44


def test_origin() -> None:
    assert origin("http", {"host": "a:1"}, "http://public") == "http://a:1"
    assert origin("http", {"host": "public"}, "https://public") == "https://public"
    assert origin("http", {"host": "a b"}, "http://public") == "http://public"
    proxied = {"host": "inner", "x-forwarded-host": "outer", "x-forwarded-proto": "https"}
    assert origin("http", proxied, "http://public") == "https://outer"
