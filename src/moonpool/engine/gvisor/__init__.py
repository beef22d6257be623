"""gVisor: sandboxes without KVM, their memory saved and brought back."""

from moonpool.engine.gvisor.checkpoint import partial_folder
from moonpool.engine.gvisor.driver import Driver
from moonpool.engine.gvisor.model import Capabilities, Held, Member, Running, Share, Slot
from moonpool.engine.gvisor.spec import SHARES
from moonpool.engine.gvisor.warm import Warm, ensure_warm

__all__ = [
    "SHARES",
    "Capabilities",
    "Driver",
    "Held",
    "Member",
    "Running",
    "Share",
    "Slot",
    "Warm",
    "ensure_warm",
    "partial_folder",
]
