"""What services see of the file system and have of root's rights, as their units ask for it."""

import pytest

from moonpool.guest.agent.units import capabilities
from tests.unit.guest.units.conftest import Box

# Says of each path whether it can be written to: `touch` of a file in a folder.
WRITE = "for path in {}; do touch $$path/probe 2>/dev/null && echo w $$path || echo r $$path; done"


async def said(box: Box, unit: str) -> list[str]:
    return (await box.journalctl("-u", unit, "-o", "cat", "--no-pager")).stdout.decode().splitlines()


async def carried_out(box: Box, settings: str, script: str, *more: str) -> list[str]:
    """What a oneshot unit with these settings prints."""
    lines = ["[Service]", "Type=oneshot", "SyslogIdentifier=probe", settings, f"ExecStart=/bin/sh -c '{script}'", *more]
    box.write("probe.service", "\n".join(lines) + "\n")
    await box.systemctl("daemon-reload")
    await box.systemctl("start", "probe")
    return [line for line in await said(box, "probe") if " probe.service" not in line and "Deactivated" not in line]


def folders(box: Box, *paths: str) -> None:
    for path in paths:
        (box.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)


async def mounts(box: Box) -> bytes:
    return (await box.run("/bin/cat", "/proc/self/mountinfo")).stdout


@pytest.mark.parametrize(
    ("level", "read_only"),
    [("yes", "/usr"), ("full", "/usr /etc"), ("strict", "/usr /etc /var /srv"), ("no", ""), ("nonsense", "")],
)
async def test_the_system_can_be_protected(box: Box, level: str, read_only: str) -> None:
    folders(box, "/srv", "/home", "/var", "/boot")
    paths = "/usr/local/bin /etc /var /srv /home"
    lines = await carried_out(box, f"ProtectSystem={level}", WRITE.format(paths))
    protected = [path for path in paths.split() if path.startswith(tuple(read_only.split()))]
    assert lines == [f"{'r' if path in protected else 'w'} {path}" for path in paths.split()]


@pytest.mark.parametrize(
    ("level", "seen"),
    [("yes", ["r /home", "0"]), ("read-only", ["r /home", "1"]), ("tmpfs", ["r /home", "0"]), ("no", ["w /home", "1"])],
)
async def test_homes_can_be_protected(box: Box, level: str, seen: list[str]) -> None:
    folders(box, "/home/somebody")
    script = WRITE.format("/home") + "; ls -A /home | grep -c somebody; true"
    assert await carried_out(box, f"ProtectHome={level}", script) == seen


async def test_paths_by_name(box: Box) -> None:
    folders(box, "/srv/open/closed", "/srv/hidden/inner", "/srv/covered/inner", "/opt/source/inner", "/data")
    (box.root / "srv/link").symlink_to("/data")
    (box.root / "srv/secret").write_text("a secret")
    settings = """ReadOnlyPaths=/srv -/not/there
ReadWritePaths=/srv/open -+/not/there/either
ReadOnlyDirectories=/srv/open/closed /srv/link
InaccessiblePaths=/srv/hidden /srv/secret
ReadWritePaths=/srv/hidden/inner
TemporaryFileSystem=/srv/covered:ro,mode=0711
BindPaths=/opt/source:/srv/covered/bound -/not/there:/bound
BindReadOnlyPaths=/opt/source:/made/for/it:norbind"""
    script = WRITE.format("/srv /srv/open /srv/open/closed /data /srv/covered /srv/covered/bound /made/for/it")
    script += "; ls -A /srv/hidden /srv/secret; cat /srv/secret; ls /srv/covered; stat -c %a /srv/covered"
    assert await carried_out(box, settings, script) == [
        "r /srv", "w /srv/open", "r /srv/open/closed", "r /data", "r /srv/covered", "w /srv/covered/bound",
        "r /made/for/it", "/srv/secret", "", "/srv/hidden:", "bound", "711",
    ]  # fmt: skip
    assert (box.root / "opt/source/probe").exists()


async def test_a_path_that_is_not_there_fails_the_start(box: Box) -> None:
    before = await mounts(box)
    assert (await carried_out(box, "ReadOnlyPaths=/not/there", "echo began"))[:2] == [
        "Failed to set up mount namespacing: /not/there: No such file or directory",
        "Main process exited, code=exited, status=226/NAMESPACE",
    ]
    assert (await box.state("probe.service"), await mounts(box) == before) == ("failed/failed", True)


async def test_temporary_folders_of_its_own(box: Box) -> None:
    (box.root / "tmp/common").touch()
    box.write(
        "own.service",
        "[Service]\nPrivateTmp=yes\nUser=nobody\n"
        "ExecStartPre=/bin/sh -c 'ls /tmp; echo a >/tmp/kept; echo b >/var/tmp/kept'\n"
        "ExecStart=/bin/sh -c 'cat /tmp/kept /var/tmp/kept; exec sleep 600'\nExecStartPost=+/bin/ls /tmp\n"
        "ExecStartPost=!/bin/sh -c 'echo $$(id -u) $$(cat /tmp/kept)'\n",
    )
    before = await mounts(box)
    assert (await box.systemctl("start", "own")).exit_code == 0
    made = [*box.root.glob("tmp/systemd-private-own.service-*"), *box.root.glob("var/tmp/systemd-private-*")]
    assert [(folder.stat().st_mode & 0o7777, (folder / "tmp/kept").exists()) for folder in made] == [(0o700, True)] * 2
    assert (await box.systemctl("stop", "own")).exit_code == 0
    lines = await said(box, "own")
    assert {"a", "b", "common", "0 a"} <= set(lines), "one with a ! is root, and sees what the service sees"
    assert lines.count("common") == 1, "one with a + sees what everybody sees"
    while any(folder.exists() for folder in made):
        await box.state("own.service")
    assert await mounts(box) == before


async def test_devices_and_interfaces_of_the_kernel(box: Box) -> None:
    settings = "PrivateDevices=yes\nProtectKernelTunables=yes\nProtectControlGroups=yes\nProtectSystem=strict"
    script = "echo x >/dev/null && echo null; ls /dev | grep -cE ^null$; touch /dev/x || echo sealed; "
    script += "echo 1 2>/dev/null >/proc/sys/kernel/core_uses_pid || echo tunables"
    lines = await carried_out(box, settings, script)
    assert [line for line in lines if "Read-only" not in line] == ["null", "1", "sealed", "tunables"]


@pytest.mark.parametrize(
    ("settings", "dropped"),
    [
        ("CapabilityBoundingSet=CAP_KILL CAP_CHOWN\nCapabilityBoundingSet=CAP_NOT_KNOWN", "ALL - KILL CHOWN"),
        ("CapabilityBoundingSet=", "ALL -"),
        ("CapabilityBoundingSet=~CAP_KILL cap_chown\nPrivateDevices=yes", "KILL CHOWN MKNOD SYS_RAWIO"),
        ("NoNewPrivileges=yes", ""),
    ],
)
async def test_capabilities_out_of_reach(box: Box, settings: str, dropped: str) -> None:
    everything, minus, kept = dropped.partition("ALL -")
    names = set(capabilities.NAMES) - set(kept.split()) if minus else set(everything.split())
    lines = await carried_out(box, settings, 'grep -E "^Cap(Bnd|Eff)|^NoNew" /proc/self/status')
    own = (await box.run("/bin/grep", "CapBnd", "/proc/self/status")).stdout.split()[1]
    expected = int(own, 16) & ~sum(1 << capabilities.NUMBERS[f"CAP_{name}"] for name in names)
    values = dict(line.split(":\t") for line in lines)
    assert [int(values[key], 16) for key in ("CapEff", "CapBnd")] == [expected] * 2
    assert values["NoNewPrivs"] == ("1" if "NoNew" in settings else "0")


async def test_another_root_and_what_a_dynamic_user_implies(box: Box) -> None:
    folders(box, "/other/usr", "/srv", "/var/lib/mine")
    for name in ("bin", "lib", "lib64"):
        (box.root / "other" / name).symlink_to(f"usr/{name}")
    script = "ls /; test -e /proc/self && echo interfaces"
    lines = await carried_out(box, "RootDirectory=/other\nBindReadOnlyPaths=/usr", script)
    assert lines == ["bin", "dev", "lib", "lib64", "proc", "sys", "usr", "interfaces"]
    lines = await carried_out(box, "DynamicUser=yes\nStateDirectory=mine", WRITE.format("/srv /tmp /var/lib/mine"))
    assert lines[-3:] == ["r /srv", "w /tmp", "w /var/lib/mine"]
