"""What Freestyle's users do, with the unchanged SDKs of both generations."""

from pathlib import Path

from tests.sdk.node import node_project, run_script
from tests.servers import Server

FOLDER = Path(__file__).parent


def test_freestyle(server: Server) -> None:
    run_script(node_project("freestyle", freestyle="0.1.63"), FOLDER / "scenario_current.mjs", server)


def test_packages_for_languages(server: Server) -> None:
    packages = {
        "freestyle-sandboxes": "0.1.46",
        "@freestyle-sh/with-nodejs": "0.2.8",
        "@freestyle-sh/with-python": "0.2.8",
    }
    run_script(node_project("freestyle-with", **packages), FOLDER / "scenario_with.mjs", server)


def test_freestyle_sandboxes(server: Server) -> None:
    project = node_project("freestyle-sandboxes", **{"freestyle-sandboxes": "0.1.46"})
    run_script(project, FOLDER / "scenario_legacy.mjs", server)
