"""What units ask for that a sandbox does not do: it is said in their journals, for what is silent looks done."""

from collections.abc import Iterator

from .unit_files import Definition

# Of [Service]: the sandbox as a whole is confined and limited, and its services are not from each other.
KEYS = frozenset(
    ("AmbientCapabilities", "BindPaths", "BindReadOnlyPaths", "CPUAffinity", "CPUQuota", "CapabilityBoundingSet",
     "IPAddressAllow", "IPAddressDeny", "InaccessiblePaths", "IOWeight", "MemoryHigh", "MemoryMax", "MountFlags",
     "NoNewPrivileges", "PrivateNetwork", "PrivateTmp", "PrivateUsers", "ProtectHome", "ProtectSystem",
     "ReadOnlyPaths", "ReadWritePaths", "RestrictAddressFamilies", "RootDirectory", "RootImage",
     "SystemCallFilter", "TasksMax", "TTYPath", "TemporaryFileSystem")
)  # fmt: skip
NEEDS = ("Requires", "BindsTo")
KINDS = (".mount", ".automount", ".swap", ".device")


def notes(definition: Definition) -> Iterator[str]:
    """A line for each kind of thing."""
    keys = sorted({key for section, key in definition.values if section == "Service" and key in KEYS})
    if keys:
        yield f"Not carried out in a sandbox: {', '.join(f'{key}=' for key in keys)}."
    names = [name for key in NEEDS for name in definition.names("Unit", key) if name.endswith(KINDS)]
    if names:
        yield f"Starting without {', '.join(names)}: of a kind that sandboxes do not have."
