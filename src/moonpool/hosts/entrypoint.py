"""What an image's maker wants to run in it, started with each sandbox that boots from its disk."""

import structlog

from moonpool.errors import GuestError, InvalidInput
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.model import MachineSpec

TAG = "entrypoint"

log = structlog.get_logger(__name__)


async def enter_point(agent: AgentClient, spec: MachineSpec) -> None:
    """In the background, as the sandbox's user. One that cannot be started (a file that is missing, say) keeps no
    sandbox from running: its owner can look into it."""
    if not spec.entrypoint:
        return
    try:
        await agent.start(ProcessSpec(argv=spec.entrypoint, user=spec.user, tag=TAG, merge_output=True))
    except (GuestError, InvalidInput) as error:
        log.info("entrypoint_not_started", sandbox=spec.id, reason=error.message)
