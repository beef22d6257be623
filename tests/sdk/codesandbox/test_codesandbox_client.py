"""The official CodeSandbox SDK, connected to a real sandbox; its client for browsers too."""

from pathlib import Path

from tests.sdk.codesandbox.conftest import VERSION
from tests.sdk.node import node_project, run_script
from tests.servers import Server

HERE = Path(__file__).parent
BROWSER = {"@codesandbox/sdk": VERSION, "esbuild": "0.25.12", "playwright-core": "1.49.1"}


def test_connected_client(server: Server, codesandbox_sdk: Path) -> None:
    print(run_script(codesandbox_sdk, HERE / "client.mjs", server).stdout)


def test_client_in_a_browser(server: Server) -> None:
    run_script(node_project("codesandbox-browser", **BROWSER), HERE / "browser.mjs", server)
