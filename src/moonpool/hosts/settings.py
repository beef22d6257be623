"""What a host needs to know before it starts."""

from dataclasses import dataclass
from pathlib import Path

GIBIBYTE = 1024**3


@dataclass(frozen=True)
class HostSettings:
    """``cache`` holds archives that several data folders share; sizes are in bytes."""

    data: Path
    cache: Path = Path("/var/cache/moonpool")
    debian_mirror: str | None = None
    runsc: str = "runsc"
    warm_pool: int = 4
    disk_pool_bytes: int = 200 * GIBIBYTE
    operator_allow: tuple[str, ...] = ()
    operator_deny: tuple[str, ...] = ()
