"""Services under a real agent: how they start, end, come back."""

import json
from typing import Any

import pytest

from moonpool.errors import InvalidUnit, UnitExists, UnitNotFound
from tests.unit.guest.units.conftest import CLIENT, Box

SLEEP = "[Service]\nExecStart=/bin/sleep 600\n"
NOTIFIER = """
import os, socket, time
service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
service.connect(chr(0) + os.environ["NOTIFY_SOCKET"][1:])
while not os.path.exists("/root/go"):
    time.sleep(0.05)
service.send(b"STATUS=at work\\nREADY=1")
time.sleep(600)
"""


def notifier(box: Box) -> str:
    """A command that says that it is ready once there is a file /root/go."""
    (box.root / "root/notifier.py").write_text(NOTIFIER)
    return "ExecStart=/usr/bin/python3 -IS /root/notifier.py\n"


async def act(box: Box, action: str, *names: str) -> dict[str, Any]:
    return {result["name"]: result for result in await box.agent.units.act(action, names)}


async def messages(box: Box, name: str) -> list[str]:
    return [line["message"] for line in await box.agent.units.logs(name, None, None)]


async def test_a_service_runs_is_seen_and_stops(box: Box) -> None:
    box.write("web.service", "[Unit]\nDescription=A server\n" + SLEEP + "ExecStartPre=/bin/echo up\n")
    done = await box.systemctl("start", "web")
    assert (done.exit_code, done.stderr) == (0, b"")
    assert await box.state("web.service") == "active/running"
    assert (await box.systemctl("is-active", "web")).stdout == b"active\n"
    assert (await box.systemctl("stop", "web")).exit_code == 0
    assert await box.state("web.service") == "inactive/dead"
    logs = (await box.journalctl("-u", "web", "-o", "cat")).stdout.decode().splitlines()
    assert sorted(logs) == [
        "Deactivated successfully.",
        "Started web.service - A server.",
        "Starting web.service - A server...",
        "Stopped web.service - A server.",
        "Stopping web.service - A server...",
        "up",
    ]


async def test_a_oneshot_runs_its_commands_in_turn_and_stays_active_if_it_is_to(box: Box) -> None:
    text = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo one >>/root/log'\n"
    text += "ExecStart=/bin/sh -c 'echo two >>/root/log'\n"
    box.write("steps.service", text + "RemainAfterExit=yes\n")
    box.write("once.service", text)
    assert (await act(box, "start", "steps.service"))["steps.service"]["success"]
    assert await box.state("steps.service") == "active/exited"
    assert (await act(box, "start", "once.service"))["once.service"]["success"]
    assert await box.state("once.service") == "inactive/dead"
    assert (box.root / "root/log").read_text().split() == ["one", "two", "one", "two"]


async def test_a_oneshot_that_fails_stops_at_the_command_and_tells(box: Box) -> None:
    box.write(
        "bad.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no >&2; exit 7'\nExecStart=/bin/touch /root/never\n",
    )
    box.write("needs.service", "[Unit]\nRequires=bad.service\nAfter=bad.service\n" + SLEEP)
    done = await box.systemctl("start", "bad")
    assert done.exit_code == 1
    assert b"Job for bad.service failed because the control process exited with error code." in done.stderr
    unit = await box.agent.units.get("bad.service")
    assert (unit["active_state"], unit["result"], unit["exit_code"]) == ("failed", "exit-code", 7)
    assert not (box.root / "root/never").exists()
    assert {"no", "Failed with result 'exit-code'."} <= set(await messages(box, "bad.service"))
    result = (await act(box, "start", "needs.service"))["needs.service"]
    assert (result["success"], "dependency" in result["message"]) == (False, True)
    assert await box.state("needs.service") == "inactive/dead"
    assert (await box.systemctl("status", "bad")).exit_code == 3
    assert (await box.systemctl("is-failed", "bad")).exit_code == 0
    await box.systemctl("reset-failed")
    assert await box.state("bad.service") == "inactive/dead"


async def test_order_and_requirements_hold(box: Box) -> None:
    step = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'sleep 0.2; echo %n >>/root/order'\n"
    box.write("a.service", f"[Unit]\nRequires=b.service\nAfter=b.service c.service\nWants=c.service\n[Service]\n{step}")
    box.write("b.service", f"[Service]\n{step}")
    box.write("c.service", f"[Unit]\nAfter=b.service\n[Service]\n{step}")
    assert (await act(box, "start", "a.service"))["a.service"]["success"]
    assert (box.root / "root/order").read_text().split() == ["b.service", "c.service", "a.service"]
    await act(box, "stop", "b.service")
    assert await box.state("a.service") == "inactive/dead", "what requires it stops with it"
    assert await box.state("c.service") == "active/exited"


async def test_a_cycle_is_refused_with_a_clear_word(box: Box) -> None:
    box.write("a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n" + SLEEP)
    box.write("b.service", "[Unit]\nRequires=a.service\nAfter=a.service\n" + SLEEP)
    done = await box.systemctl("start", "a")
    assert done.exit_code == 1
    assert b"Failed to start a.service: Transaction order is cyclic." in done.stderr
    assert await box.state("a.service") == "inactive/dead"
    assert any(
        "Found ordering cycle" in line
        for line in [*await messages(box, "a.service"), *await messages(box, "b.service")]
    )


async def test_a_unit_that_is_not_there_or_makes_no_sense(box: Box) -> None:
    missing = await box.systemctl("start", "nothing")
    assert (missing.exit_code, missing.stderr) == (
        5,
        b"Failed to start nothing.service: Unit nothing.service not found.\n",
    )
    assert (await box.systemctl("status", "nothing")).exit_code == 4
    box.write("bad.service", "[Service]\nType=simple\n")
    bad = await box.systemctl("start", "bad")
    assert bad.exit_code == 1
    assert b"bad unit file setting" in bad.stderr
    with pytest.raises(UnitNotFound):
        await box.agent.units.get("nothing.service")


async def test_a_notify_service_is_active_when_it_says_so(box: Box) -> None:
    box.write("slow.service", "[Service]\nType=notify\n" + notifier(box))
    done = await box.systemctl("start", "--no-block", "slow")
    assert done.exit_code == 0
    await box.until("slow.service", "activating/start")
    (box.root / "root/go").touch()
    await box.until("slow.service", "active/running")
    assert (await box.systemctl("show", "slow", "-p", "StatusText", "--value")).stdout == b"at work\n"


async def test_a_service_that_never_gets_ready_fails_in_time(box: Box) -> None:
    box.write("never.service", "[Service]\nType=notify\nTimeoutStartSec=0.3\nExecStart=/bin/sleep 600\n")
    result = (await act(box, "start", "never.service"))["never.service"]
    assert not result["success"]
    assert "timeout" in result["message"]
    unit = await box.agent.units.get("never.service")
    assert (unit["active_state"], unit["result"], unit["pid"]) == ("failed", "timeout", None)


async def test_a_silent_service_is_ended_by_its_watchdog(box: Box) -> None:
    (box.root / "root/go").touch()
    box.write("dog.service", "[Service]\nType=notify\nWatchdogSec=0.5\n" + notifier(box))
    await act(box, "start", "dog.service")
    unit = await box.until("dog.service", "failed/failed")
    assert unit["result"] == "watchdog"


async def test_a_service_that_dies_comes_back_until_the_limit(box: Box) -> None:
    policy = "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=60\n[Service]\nRestart=on-failure\nRestartSec=0.05\n"
    box.write("dies.service", policy + "ExecStart=/bin/sh -c 'echo again; exit 1'\n")
    await act(box, "start", "dies.service")
    await box.until("dies.service", "failed/failed")
    assert await box.agent.units.settle(60)
    said = await messages(box, "dies.service")
    assert said.count("again") == 3
    assert "Start request repeated too quickly." in said


async def test_a_killed_service_comes_back_and_a_stopped_one_does_not(box: Box) -> None:
    box.write("stays.service", "[Service]\nRestart=always\nRestartSec=0.05\nExecStart=/bin/sleep 600\n")
    await act(box, "start", "stays.service")
    first = (await box.agent.units.get("stays.service"))["pid"]
    await box.run("kill", "-9", str(first))
    while (unit := await box.until("stays.service", "active/running"))["pid"] == first:
        pass
    await act(box, "stop", "stays.service")
    assert await box.state("stays.service") == "inactive/dead"
    assert unit["pid"] != first


async def test_a_failure_starts_what_is_there_for_it(box: Box) -> None:
    box.write(
        "fails.service", "[Unit]\nOnFailure=rescue@%n.service\n[Service]\nExecStart=/bin/false\n".replace("%n", "x")
    )
    box.write(
        "rescue@.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo %i >/root/told'\n"
    )
    await act(box, "start", "fails.service")
    await box.until("rescue@x.service", "active/exited")
    assert (box.root / "root/told").read_text() == "x\n"


async def test_stopping_ends_children_and_kills_who_does_not_listen(box: Box) -> None:
    box.write(
        "deaf.service",
        "[Service]\nTimeoutStopSec=0.3\n"
        "ExecStart=/bin/sh -c 'trap \"\" TERM; setsid sleep 601 & touch /run/deaf; while :; do sleep 1; done'\n",
    )
    await act(box, "start", "deaf.service")
    await box.run("sh", "-c", "until test -e /run/deaf; do sleep 0.01; done")  # Until then it would listen.
    await act(box, "stop", "deaf.service")
    unit = await box.agent.units.get("deaf.service")
    assert (unit["active_state"], unit["result"]) == ("failed", "timeout")
    assert (await box.run("pgrep", "-f", "sleep 601")).stdout == b""


async def test_a_forking_service_is_followed_by_its_file(box: Box) -> None:
    box.write(
        "forks.service",
        "[Service]\nType=forking\nPIDFile=/run/forks.pid\n"
        "ExecStart=/bin/sh -c 'sleep 602 & echo $$! >/run/forks.pid'\n",
    )
    assert (await act(box, "start", "forks.service"))["forks.service"]["success"]
    unit = await box.agent.units.get("forks.service")
    assert unit["pid"] == int((box.root / "run/forks.pid").read_text())
    await box.run("kill", str(unit["pid"]))
    await box.until("forks.service", "inactive/dead")


async def test_user_environment_folder_and_files_reach_the_program(box: Box) -> None:
    (box.root / "etc/default").mkdir()
    (box.root / "etc/default/who").write_text("# a comment\nFROM_FILE='two words'\n")
    box.write("who.service", (
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nUser=nobody\nWorkingDirectory=/tmp\nEnvironment=\"A=x y\" B=%N\n"
        "EnvironmentFile=/etc/default/who\nEnvironmentFile=-/etc/default/missing\nRuntimeDirectory=who\n"
        "ExecStart=/bin/sh -c 'id -un; pwd; echo \"$A|${B}|$FROM_FILE\"; touch /run/who/mine'\n"
        "ExecStart=/bin/echo $FROM_FILE ${FROM_FILE} \\\n   # not a comment\n"
    ))  # fmt: skip
    (box.root / "tmp").chmod(0o1777)
    result = (await act(box, "start", "who.service"))["who.service"]
    said = await messages(box, "who.service")
    assert result["success"], said
    assert {"nobody", "/tmp"} <= set(said)
    assert "x y|who|two words" in said


async def test_enabled_units_are_linked_and_masked_ones_do_not_start(box: Box) -> None:
    box.write("on.service", SLEEP + "[Install]\nWantedBy=multi-user.target\n")
    done = await box.systemctl("enable", "--now", "on")
    assert b"Created symlink" in done.stderr
    assert (await box.systemctl("is-enabled", "on")).stdout == b"enabled\n"
    assert await box.state("on.service") == "active/running"
    await box.systemctl("disable", "--now", "on")
    off = await box.systemctl("is-enabled", "on")
    assert (off.stdout, off.exit_code) == (b"disabled\n", 1)
    await box.systemctl("mask", "dull")
    assert b"is masked" in (await box.systemctl("start", "dull")).stderr
    await box.systemctl("unmask", "dull")
    assert (await box.systemctl("start", "dull")).exit_code == 5


async def test_a_drop_in_changes_a_unit_after_a_reload(box: Box) -> None:
    box.write("one.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo first\n")
    box.write("one.service.d/10.conf", "[Service]\nExecStart=\nExecStart=/bin/echo second\n")
    await box.systemctl("daemon-reload")
    await act(box, "start", "one.service")
    said = await messages(box, "one.service")
    assert ("second" in said, "first" in said) == (True, False)
    assert b"# /etc/systemd/system/one.service.d/10.conf" in (await box.systemctl("cat", "one")).stdout


async def test_everybody_may_look_and_root_alone_may_change(box: Box) -> None:
    box.write("mine.service", SLEEP)
    denied = await box.systemctl("start", "mine", user="nobody")
    assert (denied.exit_code, b"authentication required" in denied.stderr) == (4, True)
    assert await box.state("mine.service") == "inactive/dead"
    assert (await box.systemctl("is-active", "mine", user="nobody")).stdout == b"inactive\n"


async def test_units_through_the_api_are_written_refused_and_taken_away(box: Box) -> None:
    units = box.agent.units
    file = {"name": "api.service", "text": SLEEP + "[Install]\nWantedBy=multi-user.target\n", "enable": True}
    await units.write([file])
    with pytest.raises(UnitExists):
        await units.write([file])
    with pytest.raises(InvalidUnit, match="ExecStart"):
        await units.write([{"name": "empty.service", "text": "[Service]\nType=simple\n", "enable": True}])
    assert not (box.root / "etc/systemd/system/empty.service").exists()
    await units.act("start", ["api.service"])
    assert [unit["name"] for unit in await units.list() if unit["active_state"] == "active"] == ["api.service"]
    await units.delete("api.service")
    with pytest.raises(UnitNotFound):
        await units.get("api.service")
    assert not (box.root / "etc/systemd/system/multi-user.target.wants/api.service").is_symlink()


async def test_the_journal_is_bounded_and_told_in_every_form(box: Box) -> None:
    box.write(
        "loud.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'seq -f %%060.0f 1 30000'\n"
    )
    await act(box, "start", "loud.service")
    folder = box.root / "var/log/journal/units"
    assert (await box.journalctl("-u", "loud", "-n", "1", "-o", "cat")).exit_code == 0
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5 << 20
    line = json.loads((await box.journalctl("-u", "loud", "-n1", "-o", "json", "--no-pager")).stdout)
    assert (line["UNIT"], line["PRIORITY"]) == ("loud.service", "6")
    assert (await box.journalctl("-u", "loud", "--since", "+1h")).stdout == b"-- No entries --\n"


async def test_the_journal_is_followed_as_it_grows(box: Box) -> None:
    box.write("tick.service", "[Service]\nExecStart=/bin/sh -c 'while :; do echo tick; sleep 0.1; done'\n")
    await act(box, "start", "tick.service")
    seen = await box.run("sh", "-c", f"/usr/bin/python3 -IS {CLIENT} journalctl -fu tick -n0 -o cat | head -n 3")
    assert seen.stdout == b"tick\n" * 3


async def test_a_bound_unit_stops_with_what_it_is_bound_to(box: Box) -> None:
    box.write("main.service", SLEEP)
    box.write("bound.service", "[Unit]\nBindsTo=main.service\nAfter=main.service\n" + SLEEP)
    await act(box, "start", "bound.service")
    main = await box.agent.units.get("main.service")
    await box.run("kill", "-9", str(main["pid"]))
    await box.until("main.service", "failed/failed")
    await box.until("bound.service", "inactive/dead")


async def test_a_stop_takes_back_a_start_that_is_not_over(box: Box) -> None:
    box.write("slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 600\n")
    await box.systemctl("start", "--no-block", "slow")
    await box.until("slow.service", "activating/start")
    assert (await act(box, "stop", "slow.service"))["slow.service"]["success"]
    assert await box.agent.units.settle(60)
    assert (await box.agent.units.get("slow.service"))["active_state"] in ("inactive", "failed")
    assert (await box.run("pgrep", "-fx", "/bin/sleep 600")).stdout == b""


async def test_a_reload_runs_its_command(box: Box) -> None:
    box.write("re.service", SLEEP + "ExecReload=/bin/sh -c 'echo $MAINPID >/root/reloaded'\n")
    await act(box, "start", "re.service")
    assert (await box.systemctl("reload", "re")).exit_code == 0
    unit = await box.agent.units.get("re.service")
    assert ((box.root / "root/reloaded").read_text(), unit["active_state"]) == (f"{unit['pid']}\n", "active")


async def test_what_debian_asks_for_when_it_installs_a_service(box: Box) -> None:
    box.write("packaged.service", SLEEP + "[Install]\nWantedBy=multi-user.target\n")
    box.write("static.service", SLEEP)
    for name in ("packaged.service", "static.service"):
        assert (await box.systemctl("--quiet", "--preset-mode=enable-only", "preset", name)).exit_code == 0
    assert (await box.systemctl("is-enabled", "--", "packaged.service")).stdout == b"enabled\n"
    assert (await box.systemctl("daemon-reload")).exit_code == 0
    assert (await box.systemctl("--quiet", "start", "packaged.service")).exit_code == 0
    assert await box.state("packaged.service") == "active/running"
