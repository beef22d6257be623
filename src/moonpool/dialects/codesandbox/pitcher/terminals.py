"""``shell/*``."""

from typing import Any

from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.params import DEFAULT_SIZE
from moonpool.dialects.codesandbox.pitcher.paths import resolved
from moonpool.dialects.codesandbox.pitcher.shell import Identity, Kind, Status, default_name
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.ids import random_word

ID_LENGTH = 16  # characters
MAX_NAME = 64 * 1024  # characters; the SDK puts a whole command into it


async def create(call: Call) -> dict[str, Any]:
    command = call.params.optional_text("command")
    checked(command or "", "command")
    identity = Identity(
        id=random_word(ID_LENGTH),
        kind=kind(call.params.optional_text("type")),
        name=default_name(command),
        owner=call.grant.user,
        home=call.grant.home,
        cwd=resolved(call.grant, call.params.optional_text("cwd") or ""),
        command=command,
        system=call.params.flag("isSystemShell"),
    )
    size = call.params.size() or DEFAULT_SIZE
    call.hold(identity.id)
    try:
        shell = await call.hub.shells.create(identity, size, call.client)
    except BaseException:
        call.client.release(identity.id)
        raise
    # It may have ended by now. That is told after this, as are its last words, so that nobody waits for them in vain.
    document = {**shell.document(), "status": Status.RUNNING.value, "buffer": []}
    document.pop("exitCode", None)
    return document


async def list_shells(call: Call) -> dict[str, Any]:
    return {"shells": [shell.document() for shell in call.hub.shells.all()]}


async def open_shell(call: Call) -> dict[str, Any]:
    """Who may only read looks on, at the size that others have given it."""
    shell_id, size = call.params.text("shellId"), call.params.size()
    if not call.hub.shells.has(shell_id):
        return call.hub.setup.open(call.client, shell_id)
    if call.grant.writes:
        await call.hub.shells.resize(call.hub.shells.get(shell_id), size)
    shell, shown = await call.hub.shells.open(call.client, shell_id)
    return {**shell.document(), "buffer": [shown] if shown else []}


async def write(call: Call) -> None:
    await call.hub.shells.type(call.params.text("shellId"), call.params.text("input"), call.params.size())


async def rename(call: Call) -> None:
    name = call.params.text("name")
    if len(name) > MAX_NAME:
        raise Failure(Code.CRITICAL_ERROR, f"name must have at most {MAX_NAME} characters")
    await call.hub.shells.rename(call.params.text("shellId"), name)


async def restart(call: Call) -> None:
    shell_id = call.params.text("shellId")
    call.hub.shells.get(shell_id)
    call.hold(shell_id)
    try:
        await call.hub.shells.restart(shell_id)
    except BaseException:
        call.client.release(shell_id)
        raise


async def terminate(call: Call) -> dict[str, Any]:
    shell = await call.hub.shells.terminate(call.params.text("shellId"), call.grant.session_id or call.grant.user)
    return shell.document()


def kind(said: str | None) -> Kind:
    if said not in (None, "TERMINAL", "COMMAND"):
        raise Failure(Code.CRITICAL_ERROR, "type must be TERMINAL or COMMAND")
    return "COMMAND" if said == "COMMAND" else "TERMINAL"


def checked(text: str, name: str) -> None:
    if "\0" in text:
        raise Failure(Code.CRITICAL_ERROR, f"{name} must not contain NUL characters")
