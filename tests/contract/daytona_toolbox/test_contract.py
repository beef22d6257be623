"""Operations in the life of a sandbox; each answer is compared with the document (tests/contract/record.py)."""

from typing import Any

import httpx
import pytest

from tests.contract.daytona_documents import operations

pytestmark = pytest.mark.asyncio(loop_scope="module")

# In the order in which they are called: query, body, or a form's parts.
FILES: list[tuple[str, dict[str, Any]]] = [
    ("create_folder", {"params": {"path": "d", "mode": "755"}}),
    ("upload_file", {"params": {"path": "d/a.txt"}, "files": {"file": b"one\ntwo\n"}}),
    ("upload_files", {"data": {"files[0].path": "d/b.txt"}, "files": {"files[0].file": b"two"}}),
    ("list_files", {"params": {"path": "d"}}),
    ("get_file_info", {"params": {"path": "d/a.txt"}}),
    ("download_file", {"params": {"path": "d/a.txt"}}),
    ("download_files", {"json": {"paths": ["d/a.txt", "d/b.txt"]}}),
    ("find_in_files", {"params": {"path": "d", "pattern": "two"}}),
    ("search_files", {"params": {"path": "d", "pattern": "*.txt"}}),
    ("replace_in_files", {"json": {"files": ["d/a.txt"], "pattern": "two", "newValue": "three"}}),
    ("set_file_permissions", {"params": {"path": "d/a.txt", "mode": "600"}}),
    ("move_file", {"params": {"source": "d/b.txt", "destination": "d/c.txt"}}),
    ("delete_file", {"params": {"path": "d", "recursive": "true"}}),
]
SESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("create_session", {"json": {"sessionId": "s"}}),
    ("session_execute_command", {"json": {"command": "cat", "runAsync": True}}),
    ("send_input", {"json": {"data": "line"}}),
    ("get_session_command", {}),
    ("get_session_command_logs", {"headers": {"X-Daytona-SDK-Version": "0.226.1"}}),
    ("get_session", {}),
    ("list_sessions", {}),
    ("get_entrypoint_session", {}),
    ("get_entrypoint_logs", {"headers": {"X-Daytona-SDK-Version": "0.226.1"}}),
    ("delete_session", {}),
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("get_version", {}),
    ("get_user_home_dir", {}),
    ("get_work_dir", {}),
    ("initialize", {"json": {}}),
    ("update_env", {"json": {"env": {"SET": "yes"}}}),
    ("get_system_metrics", {}),
    ("get_ports", {}),
    ("is_port_in_use", {}),
    ("execute_command", {"json": {"command": "echo hi"}}),
    ("code_run", {"json": {"code": "print(1)", "language": "python"}}),
    ("create_pty_session", {"json": {"id": "p"}}),
    ("get_pty_session", {}),
    ("list_pty_sessions", {}),
    ("resize_pty_session", {"json": {"rows": 30, "cols": 90}}),
    ("delete_pty_session", {}),
    ("create_interpreter_context", {"json": {}}),
    ("list_interpreter_contexts", {}),
    ("delete_interpreter_context", {}),
]
PARAMETERS = {"sessionId": "s", "port": "3000"}


async def test_operations_answer_as_the_document_says(client: httpx.AsyncClient) -> None:
    known, places = operations("toolbox"), dict(PARAMETERS)
    for name, wanted in [*FILES, *SESSIONS, *OTHERS]:
        operation = known[name]
        if "pty" in name:
            places["sessionId"] = "p"
        answer = await client.request(operation.method, operation.path.format(**places), **wanted)
        assert answer.is_success, f"{name}: {answer.text}"
        body = answer.json() if answer.headers.get("content-type") == "application/json" else None
        if isinstance(body, dict):
            places |= {there: body[key] for key, there in (("cmdId", "commandId"), ("id", "id")) if key in body}
