"""The official Daytona SDK for JavaScript, unchanged, against a real server."""

from pathlib import Path

from tests.sdk.node import node_project, run_script
from tests.servers import Server


def test_what_its_users_do(server: Server) -> None:
    project = node_project("daytona", **{"@daytonaio/sdk": "0.218.0"})
    done = run_script(project, Path(__file__).parent / "daytona_javascript" / "scenario.mjs", server)
    assert done.stdout.endswith("finished\n")
