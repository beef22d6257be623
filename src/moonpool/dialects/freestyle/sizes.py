"""Sizes as Freestyle counts them: processors and memory in powers of two."""

from dataclasses import dataclass

from moonpool.dialects.freestyle.mapping import GIBIBYTE, FreestyleError

MAX_VCPUS = 1024  # what the server really allows is the core's to say
MAX_GIB = 1 << 20


@dataclass(frozen=True)
class Size:
    """None: as the snapshot, or the VM, has it."""

    cpu: float | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None


def check_size(prefix: str, vcpus: int | None, memory_gib: int | None, disk_gib: int | None) -> Size:
    """``prefix`` is that of the codes, "CREATE_VM" or "RESIZE_VM"."""
    if vcpus is not None:
        in_range(f"{prefix}_VCPU_OUT_OF_RANGE", "vcpuCount", vcpus, MAX_VCPUS, "")
        power_of_two(f"{prefix}_VCPU_NOT_POWER_OF_TWO", "vcpuCount", vcpus)
    if memory_gib is not None:
        in_range(f"{prefix}_MEM_OUT_OF_RANGE", "memSizeGb", memory_gib, MAX_GIB, " GiB")
        power_of_two(f"{prefix}_MEM_NOT_POWER_OF_TWO", "memSizeGb", memory_gib)
    if disk_gib is not None:
        # The SDKs know no such code of a resize.
        code = "CREATE_VM_ROOTFS_OUT_OF_RANGE" if prefix == "CREATE_VM" else "INVALID_PARAMETERS"
        in_range(code, "rootfsSizeGb", disk_gib, MAX_GIB, " GiB")
    return Size(
        cpu=vcpus,
        memory_mib=None if memory_gib is None else memory_gib * GIBIBYTE,
        disk_mib=None if disk_gib is None else disk_gib * GIBIBYTE,
    )


def in_range(code: str, field: str, value: int, most: int, unit: str) -> None:
    if not 1 <= value <= most:
        message = f"{field} out of range (got {value}{unit}, allowed 1..={most}{unit})"
        raise FreestyleError(400, code, message, got=value, min=1, max=most)


def power_of_two(code: str, field: str, value: int) -> None:
    if value & (value - 1):
        raise FreestyleError(400, code, f"{field} must be a power of two (got {value})", got=value)
