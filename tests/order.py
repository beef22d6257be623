"""The order in which processes of pytest-xdist get test files: the longest first, so that none is left with one at the
end while the others have nothing to do. ``./test`` tells xdist (--no-loadscope-reorder) to keep it."""

from collections import Counter

import pytest

# The first one makes what data folders are copies of (tests/data.py); the next have no use for that.
LONGEST = (
    "tests/faults/test_forks.py",
    "tests/engine/images/test_base.py",
    "tests/cli/test_up.py",
    "tests/unit/sandboxes/test_lifecycle.py",
    "tests/faults/test_server_killed_midway.py",
    "tests/sdk/test_daytona_desktop.py",
    "tests/faults/test_archives.py",
    "tests/faults/test_volumes.py",
    "tests/sdk/test_builds.py",
    "tests/sdk/codesandbox/test_codesandbox_rest.py",
    "tests/sdk/wrenn/test_wrenn_sdk.py",
    "tests/faults/test_hostile_programs.py",
    "tests/faults/test_server_killed.py",
    "tests/faults/test_output_floods.py",
    "tests/faults/test_killed_processes.py",
    "tests/faults/test_large_uploads.py",
    "tests/faults/test_full_disk.py",
    "tests/cli/test_image.py",
    "tests/cli/test_doctor.py",
    "tests/cli/test_main.py",
    "tests/security/test_bad_input.py",
    "tests/sdk/test_code_runner.py",
    "tests/sdk/test_daytona_toolbox.py",
    "tests/engine/hosts/test_copies.py",
    "tests/engine/guest/test_inside.py",
    "tests/engine/guest/test_units.py",
    "tests/sdk/test_projects.py",
    "tests/sdk/freestyle/test_freestyle_sdk.py",
    "tests/sdk/freestyle/test_contract.py",
    "tests/sdk/together/test_together.py",
)

QUICK = ("tests/contract/", "tests/unit/", "tests/web/")  # their files take seconds, and fill the end


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's tests stay together, in their order; after the longest files come those of real sandboxes, then the
    others, and of either those with most tests first."""
    if not hasattr(config, "workerinput"):
        return
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    files = {item: item.nodeid.partition("::")[0] for item in items}
    sizes = Counter(files.values())
    items.sort(key=lambda item: order(files[item], ranks, sizes))


def order(file: str, ranks: dict[str, int], sizes: Counter[str]) -> tuple[int, bool, int, str]:
    return ranks.get(file, len(ranks)), file.startswith(QUICK), -sizes[file], file
