"""The dialect's tables, held against the contract and the core."""

from pathlib import Path
from typing import Any

import pytest

from moonpool import errors
from moonpool.dialects.wrenn.mapping import (
    STATUSES,
    auto_pause,
    capsule_id,
    sandbox_id,
    status_and_code,
    timeout_seconds,
    vcpus,
)
from moonpool.dialects.wrenn.operation import Access
from moonpool.dialects.wrenn.operations import OPERATIONS
from moonpool.sandboxes.model import SandboxState, Timers
from tests.contract.known_errors import every_error

PACKAGE = Path(__file__).parents[3] / "src/moonpool/dialects/wrenn"


def test_table_is_the_contract(contract: Any) -> None:
    declared = {
        (operation["operationId"], method.upper(), path)
        for path, item in contract["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert len(OPERATIONS) == 111
    assert {(operation.id, operation.method, operation.path) for operation in OPERATIONS} == declared
    assert sum(operation.access is Access.KEY for operation in OPERATIONS) == 27


def test_generated_files_say_how_they_are_made() -> None:
    assert "generate.py" in (PACKAGE / "operations.py").read_text()[:200]
    assert "command:   datamodel-codegen" in (PACKAGE / "schemas.py").read_text()[:200]


def test_every_state_has_a_status() -> None:
    assert set(STATUSES) == set(SandboxState)


@pytest.mark.parametrize("error", every_error())
def test_every_error_has_a_status_and_a_code(error: type[errors.MoonpoolError]) -> None:
    status, code = status_and_code(error())
    assert 400 <= status <= 599
    assert code.isascii()
    assert (status == 500) == (code == "internal_error")


def test_ids_go_both_ways() -> None:
    assert capsule_id("abc123") == "cl-abc123"
    assert sandbox_id("cl-abc123") == sandbox_id("abc123") == "abc123"
    for wrong in ("", "cl-", "CL-abc", "a b", "../x", "abc\n"):
        with pytest.raises(errors.SandboxNotFound):
            sandbox_id(wrong)


def test_timeouts_go_both_ways() -> None:
    assert [auto_pause(seconds) for seconds in (None, 0, 1, 60, 3600)] == [None, None, 60, 60, 3600]
    assert timeout_seconds(Timers()) == 0
    assert timeout_seconds(Timers(auto_pause=90)) == 90
    assert timeout_seconds(Timers(auto_stop=900, auto_pause=3600)) == 900


def test_fractions_of_a_core_count_as_one() -> None:
    assert [vcpus(cores) for cores in (0.25, 1, 1.5, 8)] == [1, 1, 2, 8]
