"""What starts by itself when a sandbox comes to life, and what stays away."""

import asyncio
from pathlib import Path

from moonpool.guest.agent.units import generators
from moonpool.guest.agent.units.commands_inside import scripts
from moonpool.guest.model import Identity
from moonpool.guest.protocol import IDLE_BOOT
from tests.unit.guest.conftest import RunningAgent
from tests.unit.guest.units.conftest import Box, come_alive

STEP = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo %n >>/root/order'\n"
NOTICES: list[bytes] = []  # of the agent of the test
INSTALL = "[Install]\nWantedBy=multi-user.target\n"


async def alive(entered: tuple[RunningAgent, Path], units: dict[str, str], *, at_leisure: bool = False) -> Box:
    """An agent whose root has these units, enabled, before it enters."""
    running, root = entered
    agent = await running.connect()
    agent.on_notice(NOTICES.append)
    box = Box(agent, root, running.port)
    for name, text in units.items():
        box.write(name, text)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / name).symlink_to(f"/etc/systemd/system/{name}")
    NOTICES.clear()
    await come_alive(agent, root, at_leisure=at_leisure)
    await agent.ping()
    return box


async def booted(entered: tuple[RunningAgent, Path], units: dict[str, str]) -> Box:
    box = await alive(entered, units)
    assert await box.agent.units.settle(60)
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


async def test_whoever_asks_about_units_need_not_wait_for_a_boot_at_leisure(
    entered: tuple[RunningAgent, Path],
) -> None:
    box = await alive(entered, {"a.service": STEP}, at_leisure=True)
    assert not (box.root / "root/order").exists(), "it has not begun"
    assert (box.root / "run/systemd/system").is_dir(), "programs see that there is a service manager all the same"
    assert (await box.systemctl("start", "a.service")).exit_code == 0
    assert (box.root / "root/order").read_text().split() == ["a.service"], "started once"
    assert (await box.systemctl("is-system-running")).stdout == b"running\n"
    await box.agent.close()


async def test_a_boot_at_leisure_comes_before_the_sandbox_may_sleep(entered: tuple[RunningAgent, Path]) -> None:
    box = await alive(entered, {"a.service": STEP}, at_leisure=True)
    await box.agent.wait_alone()
    assert (box.root / "root/order").read_text().split() == ["a.service"]
    await box.agent.close()


async def test_it_is_told_when_nothing_starts_by_itself(entered: tuple[RunningAgent, Path]) -> None:
    """The commands inside are there already, as the host lays them on each new disk; this machine's packages make no
    units."""
    unmet = "[Unit]\nConditionPathExists=/root/missing\n" + STEP
    running, root = entered
    agent = await running.connect()
    agent.on_notice(NOTICES.append)
    box = Box(agent, root, running.port)
    box.write("later.service", unmet)
    masked = root / "etc/systemd/system-generators"
    masked.mkdir()
    for program in generators.programs():
        (masked / Path(program).name).symlink_to("/dev/null")
    await agent.enter(str(root))
    for name, text in scripts().items():
        async with agent.write(f"/usr/local/bin/{name}") as file:
            await file.write(text)
    NOTICES.clear()
    await agent.thaw(Identity(secret=b"a secret of the test"))
    async with asyncio.timeout(60):
        while NOTICES != [IDLE_BOOT]:
            await box.agent.ping()
            await asyncio.sleep(0.05)
    await box.agent.close()


async def test_it_is_not_told_when_something_has_started(entered: tuple[RunningAgent, Path]) -> None:
    box = await booted(entered, {"a.service": STEP})
    await box.agent.wait_alone()
    await box.agent.ping()
    assert NOTICES == []
    await box.agent.close()
