"""What changes in a VM's files, as it happens."""

import posixpath
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response

from moonpool.dialects.freestyle.files import printable
from moonpool.dialects.freestyle.lookup import folder_of, open_session
from moonpool.dialects.freestyle.requests import Call, Handler, JsonLines
from moonpool.errors import EngineError
from moonpool.guest.model import FileEvent

# The contract says no more than {eventType, filename}; these are the words of Node's fs.watch and of inotify.
KINDS: Mapping[str, str] = {
    "created": "create",
    "modified": "modify",
    "attributes": "modify",
    "deleted": "delete",
    "moved": "rename",
    "overflow": "overflow",
}
EXCLUDED = ("/proc", "/sys", "/dev")


async def watch_files(call: Call) -> Response:
    """Below the VM's folder (?path= chooses another) until the client leaves, the VM stops or the folder is gone."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(call, active=False))
        root = folder_of(call, session.sandbox) or "~"
        path = posixpath.join(root, call.request.query_params.get("path", ""))
        user = call.linux_user or session.sandbox.user
        events = await stack.enter_async_context(
            session.agent.watch(path, recursive=True, excludes=EXCLUDED, user=user)
        )
        return JsonLines(documents(events), stack.pop_all())


async def documents(events: AsyncIterator[FileEvent]) -> AsyncIterator[Mapping[str, Any]]:
    try:
        async for event in events:
            document: dict[str, Any] = {"eventType": KINDS[event.kind], "filename": printable(event.path)}
            if event.old_path is not None:
                document["oldFilename"] = printable(event.old_path)
            yield document
    except EngineError:
        return  # The VM was stopped or suspended; the status is long sent.


HANDLERS: Mapping[str, Handler] = {"watch_files": watch_files}
