"""Hooks of pytest (tests/conftest.py has them) that hold the records on disk against what a run has shown.

A folder's record is compared when all of its tests have run and nothing failed; so ./test compares them all, and a run
of a few tests none. With ``--record`` it is written instead: anew after all of a folder's tests, else added to.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.contract import record

RECORD = "contract-record"
PARTLY = "contract-partly"

ran: set[str] = set()  # test files, in the process that tells the result


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record", action="store_true", help="write down what contract tests show (tests/contract/record.py)"
    )


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[partly] = True


partly = pytest.StashKey[bool]()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    ran.add(report.nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A process of pytest-xdist has ended."""
    told = getattr(node, "workeroutput", {})
    for home, facts in told.get(RECORD, {}).items():
        record.shown.setdefault(Path(home), set()).update(facts)
    if told.get(PARTLY):
        node.config.stash[partly] = True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    some = config.stash.get(partly, False) or any("::" in argument for argument in config.args)
    if hasattr(config, "workeroutput"):
        config.workeroutput[RECORD] = {str(home): sorted(facts) for home, facts in record.shown.items()}
        config.workeroutput[PARTLY] = some
        return
    whole = [] if some or exitstatus else [home for home in record.homes() if record.files_of(home) <= ran]
    if config.getoption("record"):
        write(whole)
    elif differences := [line for home in whole for line in compare(home)]:
        config.stash[report_key] = differences
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


report_key = pytest.StashKey[list[str]]()


def write(whole: list[Path]) -> None:
    for home, facts in record.shown.items():
        record.keep(home, facts if home in whole else facts | record.kept(home))


def compare(home: Path) -> list[str]:
    shown, kept = record.shown.get(home, set()), record.kept(home)
    where = home.relative_to(record.ROOT)
    return [f"{where}: shown, and not in the record: {fact}" for fact in sorted(shown - kept)] + [
        f"{where}: in the record, and not shown: {fact}" for fact in sorted(kept - shown)
    ]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if differences := config.stash.get(report_key, []):
        terminalreporter.section("Operations that the contract tests show", red=True)
        for line in differences:
            terminalreporter.line(line)
        terminalreporter.line("Run: python -m tests.contract.compatibility <the folder>")
