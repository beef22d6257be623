"""Which process tree belongs to which sandbox, on disk, so that a restarted server adopts what still runs.

A record says nothing that outlives a reboot, so it is written without a sync: after a power cut the processes it
names are gone as well.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from moonpool.hosts.model import MachineSpec, Mount, NetworkPolicy, Resources

PREPARED = ".prepared"


@dataclass(frozen=True)
class Record:
    """``member`` is the container's name, ``slot`` its network slot, ``secret`` its agent's (hexadecimal)."""

    spec: MachineSpec
    member: str
    slot: int
    secret: str


class Records:
    """One JSON file a running sandbox, readable by root alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def prepare(self, record: Record) -> None:
        """Write it; it counts from ``complete`` on, when the sandbox is whole: one that is not is never adopted."""
        descriptor = os.open(self._prepared(record.spec.id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(asdict(record), file)

    def complete(self, machine_id: str) -> None:
        self._prepared(machine_id).rename(self._path(machine_id))

    def replace(self, record: Record) -> None:
        """Write one that counts anew, in one step."""
        self.prepare(record)
        self.complete(record.spec.id)

    def remove(self, machine_id: str) -> None:
        self._path(machine_id).unlink(missing_ok=True)
        self._prepared(machine_id).unlink(missing_ok=True)

    def read_all(self) -> list[Record]:
        """Every record that counts; a foreign one is passed over. What was only prepared is removed."""
        for path in self._folder.glob(f"*{PREPARED}"):
            path.unlink()
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found.append(record_from_json(json.loads(path.read_text())))
        return found

    def _path(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}.json"

    def _prepared(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}{PREPARED}"


def record_from_json(document: dict[str, object]) -> Record:
    """The inverse of ``dataclasses.asdict`` for a ``Record``; raises KeyError or TypeError for anything else."""
    spec = document["spec"]
    if not isinstance(spec, dict):
        raise TypeError("spec")
    return Record(
        spec=MachineSpec(
            **{
                **spec,
                "resources": Resources(**spec["resources"]),
                "entrypoint": tuple(spec.get("entrypoint", ())),
                "network": NetworkPolicy.of(spec["network"]),
                "mounts": tuple(Mount(**mount) for mount in spec.get("mounts", ())),
            }
        ),
        member=str(document["member"]),
        slot=int(str(document["slot"])),
        secret=str(document["secret"]),
    )
