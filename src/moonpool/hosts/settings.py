"""What a host needs to know before it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from moonpool.engine.images.oci import FetchPolicy, ImageLimits

GIBIBYTE = 1024**3


@dataclass(frozen=True)
class HostSettings:
    """``cache`` holds archives that several data folders share; sizes are in bytes."""

    data: Path
    cache: Path = Path("/var/cache/moonpool")
    debian_mirror: str | None = None
    base_packages: tuple[str, ...] = ()
    desktop: bool = False
    code_runner: bool = False
    runsc: str = "runsc"
    mend_runsc: bool = True
    warm_pool: int = 4
    disk_pool_bytes: int = 200 * GIBIBYTE
    operator_allow: tuple[str, ...] = ()
    operator_deny: tuple[str, ...] = ()
    fetch_policy: FetchPolicy = field(default_factory=FetchPolicy)
    image_limits: ImageLimits = field(default_factory=ImageLimits)
