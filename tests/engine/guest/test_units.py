"""Services in a real sandbox: what they outlive, and that people inside have their commands."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from moonpool.guest.model import ProcessResult, ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineSpec, Resources, snapshot_image
from moonpool.hosts.settings import HostSettings
from moonpool.ids import new_sandbox_id, new_uuid
from moonpool.processes.units.model import RestartPolicy, UnitSpec
from moonpool.processes.units.render import render
from tests.data import data_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMIT = 60.0  # seconds that a test waits for anything
NOTIFIER = """
import os, socket, time
service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
service.connect(chr(0) + os.environ["NOTIFY_SOCKET"][1:])
service.send(b"READY=1")
count = 0
while not os.path.exists("/root/silent"):
    count += 1
    service.send(b"WATCHDOG=1\\nSTATUS=%d" % count)
    time.sleep(0.1)
time.sleep(600)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[Host]:
    with data_folder() as data:
        host = await Host.open(HostSettings(data=data, warm_pool=1))
        try:
            yield host
        finally:
            await host.close()


def new() -> MachineSpec:
    identifier = new_sandbox_id()
    resources = Resources(cpu=1.0, memory_mib=1024, disk_mib=3072)
    return MachineSpec(id=identifier, image="base", resources=resources, hostname=identifier, user="root")


async def shell(host: Host, spec: MachineSpec, command: str, user: str = "root") -> ProcessResult:
    async with host.session(spec.id) as agent:
        return await agent.run(ProcessSpec(shell=command, user=user, timeout=LIMIT))


async def install(host: Host, spec: MachineSpec, *units: UnitSpec) -> list[dict[str, Any]]:
    async with host.session(spec.id) as agent:
        files = [{"name": f"{unit.name}.service", "text": render(unit), "enable": unit.enable} for unit in units]
        await agent.units.write(files)
        return await agent.units.act("restart", [file["name"] for file in files])


async def until(host: Host, spec: MachineSpec, name: str, *states: str) -> dict[str, Any]:
    """Asks until the unit is in one of the states."""
    async with asyncio.timeout(LIMIT):
        while True:
            async with host.session(spec.id) as agent:
                unit = await agent.units.get(f"{name}.service")
            if unit["active_state"] in states:
                return unit
            await asyncio.sleep(0.05)


async def test_nothing_of_the_base_image_starts_by_itself(host: Host) -> None:
    """So a new sandbox of it may look for services after its first command."""
    spec = new()
    await host.create(spec)
    told = await shell(host, spec, "systemctl list-units --no-legend --type=service,timer,socket,path")
    assert (told.exit_code, told.stdout) == (0, b"")
    await host.destroy(spec.id)


async def test_services_go_on_over_a_pause_and_come_back_after_a_stop(host: Host) -> None:
    spec = new()
    await host.create(spec)
    await install(
        host,
        spec,
        UnitSpec("server", "service", ("/bin/sh -c 'echo began; exec sleep 600'",), restart=RestartPolicy("always")),
        UnitSpec("setup", "oneshot", ("/bin/sh -c 'echo setup >>/root/setups'",)),
    )
    before = await until(host, spec, "server", "active")
    await host.pause(spec.id)
    await host.resume(spec)
    after = await until(host, spec, "server", "active")
    assert after["pid"] == before["pid"], "the same process"
    await host.stop(spec.id)
    await host.start(spec)
    again = await until(host, spec, "server", "active")
    await until(host, spec, "setup", "active")
    assert (again["enabled"], (await shell(host, spec, "cat /root/setups")).stdout) == ("enabled", b"setup\nsetup\n")
    said = (await shell(host, spec, "journalctl -u server -o cat --no-pager")).stdout.decode().splitlines()
    assert said.count("began") == 2, "the journal outlives a stop"
    copy = new()
    assert await host.fork(spec.id, [copy])
    await host.resume(copy)
    assert (await until(host, copy, "server", "active"))["pid"] == again["pid"]
    await shell(host, copy, "kill -9 $(systemctl show server -p MainPID --value)")
    assert (await until(host, spec, "server", "active"))["pid"] == again["pid"], "of the source nothing was killed"
    async with asyncio.timeout(LIMIT):
        while (await until(host, copy, "server", "active"))["pid"] == again["pid"]:
            await asyncio.sleep(0.05)
    await host.destroy(copy.id)
    await host.destroy(spec.id)


async def test_each_sandbox_of_an_image_starts_what_is_enabled_in_it(host: Host) -> None:
    spec = new()
    await host.create(spec)
    await install(host, spec, UnitSpec("server", "service", ("/bin/sleep 600",)))
    snapshot = new_uuid()
    await host.capture(spec.id, snapshot, memory=False)
    await host.destroy(spec.id)
    for _ in range(3):
        copy = replace(new(), image=snapshot_image(snapshot))
        await host.create(copy)
        await until(host, copy, "server", "active")
        await host.destroy(copy.id)
    await host.forget(snapshot)


async def test_a_new_sandbox_whose_image_starts_nothing_has_its_services_at_once(host: Host) -> None:
    for _ in range(2):
        spec = new()
        await host.create(spec)
        unit = UnitSpec("setup", "oneshot", ("/bin/sh -c 'echo setup >>/root/setups'",))
        assert [result["success"] for result in await install(host, spec, unit)] == [True]
        assert (await shell(host, spec, "systemctl is-system-running; cat /root/setups")).stdout == b"running\nsetup\n"
        await host.asleep(spec.id)  # the next one knows by then that nothing starts by itself
        await host.destroy(spec.id)


async def test_readiness_watchdog_commands_and_who_may(host: Host) -> None:
    spec = new()
    await host.create(spec)
    await shell(host, spec, f"cat >/root/notifier.py <<'END'{NOTIFIER}END")
    notifier = UnitSpec(
        "notifier", "service", ("/usr/bin/python3 -IS /root/notifier.py",), ready_signal=True, watchdog_sec=5.0
    )
    never = UnitSpec("never", "service", ("/bin/sleep 600",), ready_signal=True, timeout_sec=0.5)
    results = await install(host, spec, notifier, never)
    assert [result["success"] for result in results] == [True, False]
    await host.pause(spec.id)
    await host.resume(spec)
    text = "systemctl show notifier -p StatusText --value"
    before = (await shell(host, spec, text)).stdout
    assert (await shell(host, spec, f"until [ $({text}) -gt {int(before)} ]; do :; done")).exit_code == 0
    denied = await shell(host, spec, "systemctl stop notifier", user="user")
    assert (denied.exit_code, b"authentication required" in denied.stderr) == (4, True)
    seen = await shell(
        host, spec, "systemctl is-active notifier never; /usr/bin/systemctl status notifier", user="user"
    )
    assert (seen.stdout.decode().splitlines()[:2], seen.exit_code) == (["active", "failed"], 0)
    assert (await shell(host, spec, "sudo systemctl restart notifier", user="user")).exit_code == 0
    await shell(host, spec, "touch /root/silent")
    assert (await until(host, spec, "notifier", "failed"))["result"] == "watchdog"
    await host.destroy(spec.id)


async def test_a_sandbox_with_no_service_left_sleeps(host: Host) -> None:
    spec = new()
    await host.create(spec)
    await install(host, spec, replace(UnitSpec("brief", "oneshot", ("/bin/true",)), remain_after_exit=True))
    async with asyncio.timeout(LIMIT):
        await host._machines[spec.id].slept.wait()
    await host.destroy(spec.id)


async def test_a_timer_wakes_a_sandbox_that_sleeps(host: Host) -> None:
    spec = new()
    await host.create(spec)
    write = "cd /etc/systemd/system; printf '[Timer]\\nOnActiveSec=%s\\n' 3 > late.timer; "
    write += "printf '[Service]\\nType=oneshot\\nExecStart=/bin/touch /root/done\\n' > late.service; "
    assert (await shell(host, spec, write + "systemctl daemon-reload; systemctl start late.timer")).exit_code == 0
    machine = host._machines[spec.id]
    async with asyncio.timeout(LIMIT):
        await machine.slept.wait()
        while machine.asleep:  # Nobody tells of a wake-up.
            await asyncio.sleep(0.02)
        await machine.slept.wait()
    assert (await shell(host, spec, "test -e /root/done")).exit_code == 0
    await host.destroy(spec.id)


CONFINED = """[Service]
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
PrivateDevices=yes
ProtectKernelTunables=yes
CapabilityBoundingSet=CAP_CHOWN
StateDirectory=confined
ExecStart=/bin/sh -c 'echo before >/tmp/own; echo began; until [ -e /var/lib/confined/go ]; do sleep 0.1; done; \
  echo told; for path in /usr /root /tmp /var/lib/confined; do \
  touch $$path/probe 2>/dev/null && echo w $$path || echo r $$path; done; \
  cat /tmp/own; grep CapEff /proc/self/status; exec sleep 600'
"""
MOUNTS = "awk '{print $5, $6}' /proc/self/mountinfo | sort"


async def test_what_confines_a_service_is_saved_and_brought_back_with_it(host: Host) -> None:
    spec = new()
    await host.create(spec)
    mounts = (await shell(host, spec, MOUNTS)).stdout
    write = f"cat >/etc/systemd/system/confined.service <<'END'\n{CONFINED}END\n"
    assert (await shell(host, spec, f"{write}systemctl daemon-reload; systemctl start confined")).exit_code == 0
    told = "journalctl -u confined -o cat --no-pager"
    await shell(host, spec, f"until {told} | grep -q began; do :; done")
    await host.pause(spec.id)
    await host.resume(spec)
    copy = new()
    assert await host.fork(spec.id, [copy])
    await host.resume(copy)
    for each in (spec, copy):
        said = await shell(host, each, f"touch /var/lib/confined/go; until {told} | grep CapEff; do :; done; {told}")
        after = said.stdout.decode().partition("told\n")[2].splitlines()
        assert after[:5] == ["r /usr", "r /root", "w /tmp", "w /var/lib/confined", "before"]
        assert after[5].split() == ["CapEff:", "0000000000000001"]
        assert (await shell(host, each, "systemctl stop confined")).exit_code == 0
        left = "while ls -d /tmp/systemd-private-* /var/tmp/systemd-private-*; do :; done 2>/dev/null >/dev/null; "
        assert (await shell(host, each, left + MOUNTS)).stdout == mounts
        await host.destroy(each.id)
