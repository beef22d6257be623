"""Why memory cannot be saved: files that are open and deleted."""

from moonpool.errors import CheckpointRefused
from moonpool.hosts.machine import LiveMachine


async def refuse_deleted_files(machine: LiveMachine, cause: BaseException | None = None) -> None:
    """CheckpointRefused, with the names of process and file, where there is such a file."""
    async with machine.session() as agent:
        open_files = await agent.deleted_files()
    if open_files:
        first = open_files[0]
        raise CheckpointRefused(
            f"Process {first.pid} ({first.process}) holds the deleted file {first.path} open",
            hint="Close the file or end the process, then pause again; or stop the sandbox instead.",
        ) from cause


async def explain_refusal(machine: LiveMachine, error: BaseException) -> None:
    """The same, where ``error`` is that memory cannot be saved."""
    if isinstance(error, CheckpointRefused):
        await refuse_deleted_files(machine, error)
