"""What is offered is what the contract names."""

import json
from pathlib import Path

from moonpool.dialects.daytona.toolbox.operations import OPERATIONS

CONTRACT = json.loads((Path(__file__).parents[1] / "daytona-endpoints.json").read_text())["toolbox"]
NOT_IN_THE_CONTRACT = {  # old aliases, and what only the SDK's source tells of
    "GET /project-dir",
    "POST /files/upload",
    "WEBSOCKET /lsp/connect",
    "WEBSOCKET /process/pty/create-connect",
    "WEBSOCKET /process/session/entrypoint/logs",
    "WEBSOCKET /process/session/{}/command/{}/logs",
}
WEBSOCKETS = {"/process/pty/{}/connect", "/process/interpreter/execute"}


def shape(operation: str) -> str:
    """Without the names of path parameters."""
    method, path = operation.split(" ")
    return f"{method} " + "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_every_operation_of_the_contract_is_offered() -> None:
    wanted = set()
    for operation in CONTRACT:
        method, path = shape(f"{operation['method']} {operation['path']}").split(" ")
        wanted.add(f"{'WEBSOCKET' if path in WEBSOCKETS else method} {path}")
    offered = {shape(operation) for operation in OPERATIONS} - NOT_IN_THE_CONTRACT
    assert offered == wanted
