"""How many processes a user may have, and how much CPU time everything inside has taken.

The host limits the sandbox as a whole, but beyond its limit of tasks the sandbox's kernel itself dies, and everything
in it. So ordinary users get a limit inside, where a fork simply fails. (gVisor's own cgroup for it does not hold: it
charges a fork to any one of a process's groups. Root has no such limit, on Linux neither.)
"""

import os
import resource

from .errors import AgentError
from .root import mount
from .sizes import Sizes

MOUNT_POINT = "/tmp"  # noqa: S108 - of the empty root, which nobody sees after the image's root has been entered
USAGE = f"{MOUNT_POINT}/cpuacct.usage"


class Limits:
    def __init__(self) -> None:
        self._usage: int | None = None
        self.sizes = Sizes(self.cpu_seconds)

    def begin(self) -> None:
        """Find the counter of CPU time, cover what tells of sizes. Only in a sandbox's own kernel: elsewhere it would
        be the host's."""
        self.sizes.begin()
        try:
            mount("cpuacct", MOUNT_POINT, "cgroup", 0, "cpuacct")
            self._usage = os.open(USAGE, os.O_RDONLY | os.O_CLOEXEC)
        except (AgentError, OSError) as error:
            print(f"CPU time cannot be told: {error}", flush=True)

    def set_processes(self, count: int) -> None:
        """Let each ordinary user have so many processes and threads; for what is started from now on."""
        resource.setrlimit(resource.RLIMIT_NPROC, (count, count))

    def cpu_seconds(self) -> float | None:
        """CPU time of everything so far; None where it is not known."""
        return None if self._usage is None else int(os.pread(self._usage, 32, 0)) / 1e9
