"""What can be asked of the service manager in a sandbox: the agent itself, which starts and watches the services."""

from collections.abc import Sequence
from typing import Any

from moonpool.guest.connection import ANSWER_TIMEOUT, ClientConnection

Document = dict[str, Any]
Documents = list[Document]  # named here because the client has a method called "list"


class UnitsClient:
    """Units are answered as documents with the fields of ``processes.units.model.Unit``."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def _call(self, operation: str, timeout: float | None = ANSWER_TIMEOUT, **fields: Any) -> Document:
        return (await self._connection.call(operation, fields, timeout=timeout)).document

    async def list(self) -> Documents:
        """All service units that are loaded or have a file."""
        return [*(await self._call("units"))["units"]]

    async def get(self, name: str) -> Document:
        """UnitNotFound where neither a file nor a process of it is there."""
        return await self._call("unit", name=name)

    async def write(self, files: Sequence[Document], *, replace: bool = False) -> None:
        """Write unit files (documents with ``name``, ``text``, ``enable``) and read them in: all, or none where one is
        there already (UnitExists) or cannot be understood (InvalidUnit). A name with a slash is a drop-in."""
        await self._call("unit_write", files=[*files], replace=replace)

    async def delete(self, name: str) -> None:
        """Stop it, disable it, remove its file. UnitNotFound."""
        await self._call("unit_delete", None, name=name)

    async def act(self, action: str, names: Sequence[str]) -> Documents:
        """``start``, ``stop`` or ``restart``, waited for. One document a name: ``name``, ``success``, ``message``."""
        return [*(await self._call("unit_act", None, action=action, names=[*names]))["results"]]

    async def logs(self, name: str | None, lines: int | None, since: float | None) -> Documents:
        """The latest ``lines`` of its journal (None: all that is kept) from Unix time ``since`` on."""
        return [*(await self._call("unit_logs", name=name, lines=lines, since=since))["lines"]]

    async def settle(self, timeout: float | None) -> bool:
        """Wait until nothing is being started or stopped; False when the time (seconds) was over first."""
        seconds = None if timeout is None else timeout + ANSWER_TIMEOUT
        message = await self._connection.call("units_settle", {"timeout": timeout}, timeout=seconds)
        return bool(message.document["settled"])
