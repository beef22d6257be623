"""A server in miniature, to be killed in the middle: python caller.py DATA AGENT RUNSC ACTION NAMESPACE IMAGE."""

import sys
from dataclasses import dataclass
from pathlib import Path

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.gvisor import Driver, Member
from moonpool.engine.instance import Instance


@dataclass(frozen=True)
class Slot:
    namespace: Path


def main() -> None:
    data, agent, runsc, action, namespace, image = sys.argv[1:]
    instance = Instance(Path(data))
    driver = Driver(instance, Cgroups.open(instance), Path(agent), runsc=runsc)
    if action == "restore":
        driver.restore(Member("victim", Slot(Path(namespace)), "victim"), Path(image))
    else:
        driver.checkpoint("victim", Path(image))


if __name__ == "__main__":
    main()
