"""The official CodeSandbox SDK, connected to a real sandbox."""

from pathlib import Path

from tests.sdk.node import run_script
from tests.servers import Server

HERE = Path(__file__).parent


def test_connected_client(server: Server, codesandbox_sdk: Path) -> None:
    print(run_script(codesandbox_sdk, HERE / "client.mjs", server).stdout)
