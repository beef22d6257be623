"""Every kernel draws random numbers of its own, also one that is a copy of a kernel that was started beforehand."""

import random
import sys
from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Before the first piece of code, the generators that what was imported so far has seeded are seeded anew."""

    def seed(*_information: object) -> None:
        shell.events.unregister("pre_run_cell", seed)
        random.seed()
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.random.seed()

    shell.events.register("pre_run_cell", seed)
