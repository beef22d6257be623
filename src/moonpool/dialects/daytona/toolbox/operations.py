"""The table of the toolbox's operations: method and path, and who answers.

A path's ``{names}`` match one segment each; a path without names is preferred.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox import (
    bulk_download,
    code,
    desktop,
    desktop_films,
    execution,
    files,
    git,
    info,
    interpreter,
    lsp,
    lsp_socket,
    session_logs,
    sessions,
    system,
    terminal_sockets,
    terminals,
    transfer,
)
from moonpool.dialects.daytona.toolbox.call import Call, while_listened
from moonpool.dialects.daytona.toolbox.errors import MethodNotAllowed, UnknownPath

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
    "WEBSOCKET /lsp/connect": lsp_socket.connect,
    "POST /computeruse/start": desktop.start,
    "POST /computeruse/stop": desktop.stop,
    "GET /computeruse/status": desktop.status,
    "GET /computeruse/process-status": desktop.status,
    "GET /computeruse/process/{process}/status": desktop.process_status,
    "POST /computeruse/process/{process}/restart": desktop.process_restart,
    "GET /computeruse/process/{process}/logs": desktop.process_logs,
    "GET /computeruse/process/{process}/errors": desktop.process_errors,
    "GET /computeruse/display/info": desktop.display,
    "GET /computeruse/display/windows": desktop.windows,
    "GET /computeruse/screenshot": desktop.screenshot,
    "GET /computeruse/screenshot/region": desktop.screenshot_region,
    "GET /computeruse/screenshot/compressed": desktop.screenshot_compressed,
    "GET /computeruse/screenshot/region/compressed": desktop.screenshot_region_compressed,
    "GET /computeruse/mouse/position": desktop.mouse_position,
    "POST /computeruse/mouse/move": desktop.mouse_move,
    "POST /computeruse/mouse/click": desktop.mouse_click,
    "POST /computeruse/mouse/down": desktop.mouse_down,
    "POST /computeruse/mouse/up": desktop.mouse_up,
    "POST /computeruse/mouse/drag": desktop.mouse_drag,
    "POST /computeruse/mouse/scroll": desktop.mouse_scroll,
    "POST /computeruse/keyboard/type": desktop.keyboard_type,
    "POST /computeruse/keyboard/key": desktop.keyboard_press,
    "POST /computeruse/keyboard/hotkey": desktop.keyboard_hotkey,
    "POST /computeruse/keyboard/down": desktop.keyboard_down,
    "POST /computeruse/keyboard/up": desktop.keyboard_up,
    "GET /computeruse/recordings": desktop_films.list_recordings,
    "POST /computeruse/recordings/start": desktop_films.start_recording,
    "POST /computeruse/recordings/stop": desktop_films.stop_recording,
    "GET /computeruse/recordings/{recording}": desktop_films.get_recording,
    "DELETE /computeruse/recordings/{recording}": desktop_films.delete_recording,
    "GET /computeruse/recordings/{recording}/download": while_listened(desktop_films.download_recording),
    "GET /computeruse/a11y/tree": desktop_films.tree,
    "POST /computeruse/a11y/find": desktop_films.find,
    "POST /computeruse/a11y/node/focus": desktop_films.focus,
    "POST /computeruse/a11y/node/invoke": desktop_films.invoke,
    "POST /computeruse/a11y/node/value": desktop_films.set_value,
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
    return Table(OPERATIONS)
