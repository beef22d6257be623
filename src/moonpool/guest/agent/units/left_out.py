"""What units ask for that a sandbox does not do: it is said in their journals, for what is silent looks done."""

from collections.abc import Iterator

from .unit_files import Definition

# Of [Service]: the sandbox as a whole is limited and its system calls are gVisor's own; single services are not.
KEYS = frozenset(
    ("AmbientCapabilities", "CPUAffinity", "CPUQuota", "DeviceAllow", "DevicePolicy", "ExecPaths", "IPAddressAllow",
     "IPAddressDeny", "IOWeight", "JoinsNamespaceOf", "LockPersonality", "MemoryDenyWriteExecute", "MemoryHigh",
     "MemoryMax", "MountFlags", "NoExecPaths", "PrivateIPC", "PrivateNetwork", "PrivateUsers", "ProcSubset",
     "ProtectHostname", "ProtectProc", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime",
     "RestrictSUIDSGID", "RootImage", "SystemCallArchitectures", "SystemCallFilter", "TasksMax", "TTYPath")
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
