"""The official CodeSandbox SDK and its command line, as npm has them."""

from pathlib import Path

import pytest

from tests.sdk.node import node_project

VERSION = "2.4.2"


@pytest.fixture(scope="session")
def codesandbox_sdk() -> Path:
    """A project with the SDK in it."""
    return node_project("codesandbox", **{"@codesandbox/sdk": VERSION})
