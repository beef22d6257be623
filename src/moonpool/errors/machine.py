"""The machine, and what it stores."""

from moonpool.errors.base import MoonpoolError


class EngineError(MoonpoolError):
    """The engine could not do what it was asked; the sandbox's files are kept."""

    code = "engine_error"
    default = "The sandbox engine failed"
    default_hint = "Run 'moonpool doctor' on the server."


class GivenUp(EngineError):
    """Nobody waits for it any more: whoever started it ends."""

    code = "given_up"
    default = "The server was stopped before it had started"
    default_hint = "Start it again: what is done already is kept."


class MachineUnfit(EngineError):
    """The machine lacks something the engine needs; ``hint`` says what to install or enable."""

    code = "machine_unfit"
    default = "This machine lacks something the engine needs"


class CheckpointRefused(EngineError):
    """Memory cannot be kept now; the sandbox itself goes on unharmed."""

    code = "checkpoint_refused"
    default = "The sandbox's memory cannot be saved now"


class MemoryDoesNotFit(CheckpointRefused):
    """The server's disk has no room for it."""


class CheckpointIncompatible(EngineError):
    code = "checkpoint_incompatible"
    default = "This checkpoint was made by another runsc, with other flags or on another kind of processor"
    default_hint = "Start the sandbox from its disk, or bring back the runsc that made the checkpoint."


class CheckpointCorrupt(EngineError):
    code = "checkpoint_corrupt"
    default = "The checkpoint is damaged"
    default_hint = "Start the sandbox from its disk."


class AgentUnavailable(EngineError):
    code = "agent_unavailable"
    default = "The agent in the sandbox does not answer"


class SandboxEnded(AgentUnavailable):
    """The sandbox was stopped, saved or died while something was done in it, which may have been done or not."""

    code = "sandbox_ended"
    default = "The sandbox was stopped or paused meanwhile"
    default_hint = "Start it again: its files are kept."


class AgentTimeout(EngineError):
    code = "agent_timeout"
    default = "The agent in the sandbox did not answer in time"


class ArchiveError(MoonpoolError):
    """A copy of a disk could not be made or brought back; what was there before is there still."""

    code = "archive_error"
    default = "The archive could not be made or brought back"


class StoreUnavailable(ArchiveError):
    code = "archive_store_unavailable"
    default = "The archive store does not answer"
    default_hint = "Look at the store's own state, and at MOONPOOL_ARCHIVE."


class ArchiveCorrupt(ArchiveError):
    code = "archive_corrupt"
    default = "The archive is damaged"


class ArchiveIncompatible(ArchiveError):
    """The archive holds what differs from a base that is not here."""

    code = "archive_incompatible"
    default = "The archive belongs to another state of its base image, which is not on this server"
    default_hint = "Restore it on the server that made it, with that server's disk pool."


class TransferCancelled(ArchiveError):
    code = "transfer_cancelled"
    default = "The transfer was ended by another request"


class NoCapacity(MoonpoolError):
    code = "no_capacity"
    default = "This host has no room for another sandbox now"


class Overloaded(NoCapacity):
    code = "overloaded"
    default = "The server holds as much as it can of what is being sent to it and from it"
    default_hint = "Try again in a moment, or ask for less at once."


class NoDiskSpace(NoCapacity):
    code = "no_disk_space"
    default = "The server's disk is full"
    default_hint = "Free some space on the server."
