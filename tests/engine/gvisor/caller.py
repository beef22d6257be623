"""A server in miniature, to be killed in the middle: python caller.py DATA AGENT RUNSC ACTION NAMESPACE IMAGE."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.gvisor import Driver, Member, ensure_warm
from moonpool.engine.instance import Instance


@dataclass(frozen=True)
class Slot:
    namespace: Path


def main() -> None:
    data, agent, runsc, action, namespace, image = sys.argv[1:]
    instance = Instance(Path(data))
    driver = Driver(instance, Cgroups.open(instance), Path(agent), runsc=runsc)
    slot = Slot(Path(namespace))
    if action == "restore":
        driver.restore(Member("victim", slot, "victim"), Path(image))
    elif action == "warm":
        ensure_warm(driver, Path(image), lambda: nullcontext(slot), lambda _slot, _secret: None)
    else:
        driver.checkpoint("victim", Path(image))


if __name__ == "__main__":
    main()
