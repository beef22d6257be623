"""The order in which processes of pytest-xdist get test files: the longest first, so that none is left with one at the
end while the others have nothing to do. ``./test`` tells xdist (--no-loadscope-reorder) to keep it."""

from collections import Counter

import pytest

LONGEST = (
    "tests/faults/test_forks.py",
    "tests/faults/test_archives.py",
    "tests/faults/test_volumes.py",
    "tests/engine/images/test_base.py",
    "tests/cli/test_up.py",
    "tests/faults/test_server_killed_midway.py",
    "tests/sdk/codesandbox/test_codesandbox_rest.py",
    "tests/sdk/wrenn/test_wrenn_sdk.py",
    "tests/sdk/test_builds.py",
    "tests/sdk/test_daytona_desktop.py",
    "tests/cli/test_main.py",
    "tests/cli/test_keys.py",
    "tests/cli/test_image.py",
    "tests/sdk/test_code_runner.py",
    "tests/cli/test_doctor.py",
    "tests/sdk/test_daytona_toolbox.py",
    "tests/engine/hosts/test_copies.py",
    "tests/engine/guest/test_inside.py",
    "tests/engine/guest/test_units.py",
    "tests/sdk/test_projects.py",
    "tests/faults/test_full_disk.py",
    "tests/sdk/freestyle/test_freestyle_sdk.py",
    "tests/sdk/freestyle/test_contract.py",
    "tests/sdk/together/test_together.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's tests stay together, in their order; after the longest files come those with most tests."""
    if not hasattr(config, "workerinput"):
        return
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    files = {item: item.nodeid.partition("::")[0] for item in items}
    sizes = Counter(files.values())
    items.sort(key=lambda item: (ranks.get(files[item], len(ranks)), -sizes[files[item]], files[item]))
