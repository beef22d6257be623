"""Every method of the protocol, and who may use it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moonpool.dialects.codesandbox.pitcher import downloads, files, terminals, watches
from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.client import PORTS
from moonpool.dialects.codesandbox.pitcher.tasks import Starter
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.ids import random_word

PROTOCOL_VERSION = "0.367.10"  # what SDK 2.4.2 says it speaks
COLOUR = "#8A63D2"
# Of the protocol that SDKs before 2.0 speak, which ask for the whole tree of files before anything else.
EARLIER = frozenset(("fs/read", "fs/operation", "fs/search", "fs/pathSearch", "fs/streamingSearch", "git/status"))


@dataclass(frozen=True)
class Method:
    """``writes``: not for sessions that may only read."""

    handler: Callable[[Call], Awaitable[Any]]
    writes: bool = False


async def join(call: Call) -> dict[str, Any]:
    grant, version = call.grant, call.hub.place.services.server.version
    return {
        "client": {
            "clientId": call.client.id,
            "username": grant.user,
            "name": grant.session_id or grant.user,
            "avatarUrl": None,
            "color": COLOUR,
            "appId": call.params.table("clientInfo").optional_text("appId") or "",
        },
        "workspacePath": grant.workspace,
        "version": version,
        "protocolVersion": PROTOCOL_VERSION,
        "latestPitcherVersion": version,
        "capabilities": {},
        "permissions": {},
        "isProtected": False,
        "reconnectToken": random_word(20),
    }


async def get_setup(call: Call) -> dict[str, Any]:
    await call.hub.prepare(call.grant)
    return await call.hub.setup.settled()


async def begin_setup(call: Call) -> dict[str, Any]:
    await call.hub.prepare(call.grant)
    call.hub.setup.begin(call.grant, again=True)
    return call.hub.setup.document()


async def list_ports(call: Call) -> dict[str, Any]:
    call.hold(PORTS)  # The SDK listens for a port that is not in the answer once it has read that.
    return {"list": await call.hub.ports.look()}


async def list_tasks(call: Call) -> dict[str, Any]:
    return await call.hub.tasks.list(call.grant)


async def run_task(call: Call) -> dict[str, Any]:
    starter = Starter(call.grant, call.client, call.number)
    return await call.hub.tasks.run(starter, call.params.text("taskId"))


async def stop_task(call: Call) -> dict[str, Any]:
    return await call.hub.tasks.stop(call.grant, call.params.text("taskId"))


async def keep_active(call: Call) -> dict[str, Any]:
    """The client wants the sandbox to stay up while it is connected, and says so every ten seconds."""
    await call.hub.place.services.sandboxes.touch(call.hub.place.principal, call.hub.place.sandbox_id)
    return {}


METHODS: Mapping[str, Method] = {
    "client/join": Method(join),
    "setup/get": Method(get_setup),
    "setup/init": Method(begin_setup, writes=True),
    "shell/create": Method(terminals.create, writes=True),
    "shell/list": Method(terminals.list_shells),
    "shell/open": Method(terminals.open_shell),
    "shell/in": Method(terminals.write, writes=True),
    "shell/rename": Method(terminals.rename, writes=True),
    "shell/restart": Method(terminals.restart, writes=True),
    "shell/terminate": Method(terminals.terminate, writes=True),
    "fs/readFile": Method(files.read_file),
    "fs/writeFile": Method(files.write_file, writes=True),
    "fs/readdir": Method(files.read_folder),
    "fs/stat": Method(files.show),
    "fs/mkdir": Method(files.make_folder, writes=True),
    "fs/remove": Method(files.remove, writes=True),
    "fs/rename": Method(files.rename, writes=True),
    "fs/copy": Method(files.copy, writes=True),
    "fs/watch": Method(watches.watch),
    "fs/unwatch": Method(watches.unwatch),
    "fs/download": Method(downloads.offer),
    "port/list": Method(list_ports),
    "task/list": Method(list_tasks),
    "task/run": Method(run_task, writes=True),
    "task/stop": Method(stop_task, writes=True),
    "system/update": Method(keep_active),
}


def find(name: str, *, writes: bool) -> Method:
    """Raises Failure for a method that is not there, or not for a client that may not write."""
    method = METHODS.get(name)
    if method is None:
        hint = ": it is an earlier SDK's; @codesandbox/sdk 2.4 works here" if name in EARLIER else ""
        raise Failure(Code.FEATURE_UNAVAILABLE, f"{name[:80]} is not available{hint}")
    if method.writes and not writes:
        raise Failure(Code.NO_ACCESS, "This session may only read")
    return method
