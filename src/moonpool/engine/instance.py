"""The name under which one server owns things on a machine."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Instance:
    """One server's data folder and the tag that marks its cgroups, links, tables and namespaces.

    The tag is derived from the folder, so that a restarted server finds what it left behind and several servers
    share a machine without touching each other.
    """

    data: Path

    @cached_property
    def tag(self) -> str:
        """Six hexadecimal digits."""
        return hashlib.sha256(str(self.data).encode()).hexdigest()[:6]

    @property
    def run(self) -> Path:
        """State that is meaningless after a reboot: namespaces, runsc's own state, bundles."""
        return self.data / "run"
