"""The table of the toolbox's operations: method and path, and who answers.

A path's ``{names}`` match one segment each; a path without names is preferred. Operations of the contract that this
server does not offer stand in ``unsupported.py``.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox import (
    bulk_download,
    code,
    execution,
    files,
    git,
    info,
    interpreter,
    lsp,
    session_logs,
    sessions,
    system,
    terminal_sockets,
    terminals,
    transfer,
)
from moonpool.dialects.daytona.toolbox.call import Call, while_listened
from moonpool.dialects.daytona.toolbox.errors import MethodNotAllowed, UnknownPath
from moonpool.dialects.daytona.toolbox.unsupported import UNSUPPORTED, refuse

Handler = Callable[[Call], Awaitable[Response | None]]
WEBSOCKET = "WEBSOCKET"

OPERATIONS: Mapping[str, Handler] = {
    "GET /version": info.version,
    "GET /user-home-dir": info.home,
    "GET /work-dir": info.work_folder,
    "GET /project-dir": info.work_folder,
    "POST /init": info.initialize,
    "POST /env": info.update_environment,
    "GET /system/metrics": system.metrics,
    "GET /port": system.ports,
    "GET /port/{port}/in-use": system.port_in_use,
    "GET /files": files.list_files,
    "DELETE /files": files.delete,
    "GET /files/info": files.describe,
    "POST /files/folder": files.create_folder,
    "POST /files/move": files.move,
    "POST /files/permissions": files.set_permissions,
    "GET /files/search": files.search,
    "GET /files/find": files.find,
    "POST /files/replace": files.replace,
    "GET /files/download": while_listened(transfer.download),
    "POST /files/bulk-download": bulk_download.bulk_download,
    "POST /files/upload": transfer.upload,
    "POST /files/upload-v2": transfer.upload,
    "POST /files/bulk-upload": transfer.bulk_upload,
    "POST /process/execute": execution.execute,
    "POST /process/code-run": code.run,
    "GET /process/session": sessions.list_sessions,
    "POST /process/session": sessions.create,
    "GET /process/session/entrypoint": sessions.entrypoint,
    "GET /process/session/entrypoint/logs": session_logs.entrypoint_logs,
    "WEBSOCKET /process/session/entrypoint/logs": session_logs.follow_entrypoint,
    "GET /process/session/{session}": sessions.get,
    "DELETE /process/session/{session}": sessions.delete,
    "POST /process/session/{session}/exec": sessions.execute,
    "GET /process/session/{session}/command/{command}": sessions.get_command,
    "POST /process/session/{session}/command/{command}/input": sessions.send_input,
    "GET /process/session/{session}/command/{command}/logs": session_logs.logs,
    "WEBSOCKET /process/session/{session}/command/{command}/logs": session_logs.follow,
    "GET /process/pty": terminals.list_terminals,
    "POST /process/pty": terminals.create,
    "WEBSOCKET /process/pty/create-connect": terminal_sockets.create_and_connect,
    "GET /process/pty/{terminal}": terminals.get,
    "DELETE /process/pty/{terminal}": terminals.delete,
    "POST /process/pty/{terminal}/resize": terminals.resize,
    "WEBSOCKET /process/pty/{terminal}/connect": terminal_sockets.connect,
    "GET /process/interpreter/context": interpreter.list_contexts,
    "POST /process/interpreter/context": interpreter.create_context,
    "DELETE /process/interpreter/context/{context}": interpreter.delete_context,
    "WEBSOCKET /process/interpreter/execute": interpreter.execute,
    "POST /git/init": git.init,
    "POST /git/clone": git.clone,
    "GET /git/status": git.status,
    "GET /git/history": git.history,
    "GET /git/branches": git.list_branches,
    "POST /git/branches": git.create_branch,
    "DELETE /git/branches": git.delete_branch,
    "POST /git/checkout": git.checkout,
    "POST /git/add": git.add,
    "POST /git/commit": git.commit,
    "POST /git/reset": git.reset,
    "POST /git/restore": git.restore,
    "GET /git/remotes": git.list_remotes,
    "POST /git/remotes": git.add_remote,
    "POST /git/push": git.push,
    "POST /git/pull": git.pull,
    "GET /git/config": git.get_config,
    "POST /git/config": git.set_config,
    "POST /git/config/user": git.configure_user,
    "POST /git/credentials": git.authenticate,
    "POST /lsp/start": lsp.start,
    "POST /lsp/stop": lsp.stop,
    "POST /lsp/did-open": lsp.did_open,
    "POST /lsp/did-close": lsp.did_close,
    "POST /lsp/completions": lsp.completions,
    "GET /lsp/document-symbols": lsp.document_symbols,
    "GET /lsp/workspacesymbols": lsp.workspace_symbols,
}


@dataclass(frozen=True)
class Found:
    handler: Handler
    parameters: dict[str, str]


class Table:
    """Operations by method and path: one lookup for most, a few comparisons for those with names in their path."""

    def __init__(self, operations: Mapping[str, Handler]) -> None:
        self._exact: dict[str, dict[str, Handler]] = {}
        self._patterns: dict[int, list[tuple[list[str], str, Handler]]] = {}
        for operation, handler in operations.items():
            method, path = operation.split(" ", 1)
            if "{" in path:
                segments = path.split("/")
                self._patterns.setdefault(len(segments), []).append((segments, method, handler))
            else:
                self._exact.setdefault(path, {})[method] = handler

    def find(self, method: str, path: str) -> Found:
        """Raises UnknownPath, MethodNotAllowed."""
        exact = self._exact.get(path, {})
        if method in exact:
            return Found(exact[method], {})
        allowed = set(exact)
        segments = path.split("/")
        for pattern, its_method, handler in self._patterns.get(len(segments), ()):
            parameters = match(pattern, segments)
            if parameters is not None:
                if its_method == method:
                    return Found(handler, parameters)
                allowed.add(its_method)
        if allowed:
            raise MethodNotAllowed(f"{method} is not allowed here, only {', '.join(sorted(allowed))}")
        raise UnknownPath(f"Cannot {method} {path}")


def match(pattern: Iterable[str], segments: Iterable[str]) -> dict[str, str] | None:
    parameters = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not segment:
                return None
            parameters[expected[1:-1]] = segment
        elif expected != segment:
            return None
    return parameters


def table() -> Table:
    return Table(
        {**OPERATIONS, **{operation: refuse for operations in UNSUPPORTED.values() for operation in operations}}
    )
