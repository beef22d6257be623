"""What starts by itself when a sandbox comes to life, and what stays away."""

from pathlib import Path

from tests.unit.guest.conftest import RunningAgent
from tests.unit.guest.units.conftest import Box, come_alive

STEP = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo %n >>/root/order'\n"
INSTALL = "[Install]\nWantedBy=multi-user.target\n"


async def booted(entered: tuple[RunningAgent, Path], units: dict[str, str]) -> Box:
    """An agent whose root has these units, enabled, before it enters."""
    running, root = entered
    agent = await running.connect()
    box = Box(agent, root, running.port)
    for name, text in units.items():
        box.write(name, text)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / name).symlink_to(f"/etc/systemd/system/{name}")
    await come_alive(agent, root)
    await agent.ping()
    assert await agent.units.settle(60)
    return box


async def test_enabled_units_start_in_order_once(entered: tuple[RunningAgent, Path]) -> None:
    units = {
        "a.service": "[Unit]\nAfter=b.service\n" + STEP,
        "b.service": STEP,
        "web.service": "[Service]\nExecStart=/bin/sleep 600\n",
    }
    box = await booted(entered, units)
    assert (box.root / "root/order").read_text().split() == ["b.service", "a.service"]
    assert await box.state("web.service") == "active/running"
    assert (await box.systemctl("is-system-running")).stdout == b"running\n"
    assert (box.root / "run/systemd/system").is_dir()
    script = box.root / "usr/local/bin/systemctl"
    assert (await box.run("test", "-x", "/usr/local/bin/systemctl")).exit_code == 0, script
    await box.agent.close()


async def test_a_ring_of_enabled_units_is_broken_and_told(entered: tuple[RunningAgent, Path]) -> None:
    units = {
        "a.service": "[Unit]\nAfter=b.service\n" + STEP,
        "b.service": "[Unit]\nAfter=a.service\n" + STEP,
        "c.service": STEP,
    }
    box = await booted(entered, units)
    done = (box.root / "root/order").read_text().split()
    assert ("c.service" in done, len(done)) == (True, 2), "one of the two is left out, so that the rest can start"
    said = (await box.journalctl("-o", "cat")).stdout.decode()
    assert "to break ordering cycle" in said
    await box.agent.close()


async def test_a_unit_that_fails_leaves_the_others_alone(entered: tuple[RunningAgent, Path]) -> None:
    box = await booted(entered, {"bad.service": "[Service]\nExecStart=/no/such/program\n", "good.service": STEP})
    unit = await box.agent.units.get("bad.service")
    assert (unit["active_state"], unit["exit_code"]) == ("failed", 203)
    assert await box.state("good.service") == "active/exited"
    assert (await box.systemctl("is-system-running")).stdout == b"degraded\n"
    assert b"bad.service" in (await box.systemctl("--failed", "--no-legend")).stdout
    await box.agent.close()


async def test_parts_of_systemd_and_unmet_conditions_are_passed_over(entered: tuple[RunningAgent, Path]) -> None:
    units = {
        "logind.service": "[Service]\nExecStart=/usr/lib/systemd/systemd-logind\n",
        "later.service": "[Unit]\nConditionPathExists=/root/missing\n" + STEP,
        "mighty.service": "[Unit]\nConditionCapability=CAP_OF_NOBODY\n" + STEP,
        "able.service": "[Unit]\nConditionCapability=CAP_CHOWN\nConditionPathExists=!/root/missing\n" + STEP,
    }
    box = await booted(entered, units)
    assert [await box.state(name) for name in units] == [*["inactive/dead"] * 3, "active/exited"]
    await box.agent.close()


async def test_a_oneshot_takes_its_file_away_when_it_is_to(entered: tuple[RunningAgent, Path]) -> None:
    units = {
        "first.service": "[Unit]\nX-DeleteAfterSuccess=yes\n" + STEP,
        "second.service": "[Unit]\nX-DeleteAfterSuccess=yes\nRequires=first.service\nAfter=first.service\n" + STEP,
    }
    box = await booted(entered, units)
    assert (box.root / "root/order").read_text().split() == ["first.service", "second.service"]
    folder = box.root / "etc/systemd/system"
    assert not [path for path in folder.rglob("*.service") if path.is_symlink() or path.exists()]
    box.write("third.service", "[Unit]\nRequires=second.service\nAfter=second.service\n" + STEP)
    await box.agent.units.act("stop", ["second.service"])
    assert (await box.systemctl("start", "third")).exit_code == 0, "what has done its work holds nobody up"
    assert (await box.systemctl("start", "second")).exit_code == 5
    await box.agent.close()
