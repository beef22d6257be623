"""Timers under a real agent."""

from tests.unit.guest.units.conftest import Box

ONCE = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >>/root/%p'\n"
STAMP = "var/lib/systemd/timers/stamp-late.timer"


async def lines(box: Box, name: str, count: int) -> None:
    """Waits until its service has run so many times."""
    script = f"until [ -f /root/{name} ] && [ $(wc -l </root/{name}) -ge {count} ]; do sleep 0.05; done"
    assert (await box.run("sh", "-c", script)).exit_code == 0


async def test_some_time_after_its_start_and_again_and_again(box: Box) -> None:
    box.write("tick.service", ONCE)
    box.write("tick.timer", "[Timer]\nOnActiveSec=50ms\nOnUnitActiveSec=100ms\n[Install]\nWantedBy=timers.target\n")
    done = await box.systemctl("enable", "--now", "tick.timer")
    assert (done.exit_code, b"timers.target.wants/tick.timer" in done.stderr) == (0, True)
    await lines(box, "tick", 3)
    assert (await box.systemctl("is-active", "tick.timer")).stdout == b"active\n"
    listed = (await box.systemctl("list-timers")).stdout.decode()
    assert ("tick.timer" in listed, "tick.service" in listed) == (True, True)
    assert b"Trigger:" in (await box.systemctl("status", "tick.timer")).stdout
    assert (await box.systemctl("stop", "tick.timer")).exit_code == 0
    assert b"0 timers listed." in (await box.systemctl("list-timers")).stdout
    assert b"Triggering tick.service" in (await box.journalctl("-u", "tick.timer", "-o", "cat")).stdout


async def test_after_its_unit_has_come_to_rest(box: Box) -> None:
    box.write("step.service", ONCE)
    box.write("step.timer", "[Timer]\nOnBootSec=0\nOnUnitInactiveSec=50ms\n")
    assert (await box.systemctl("start", "step.timer")).exit_code == 0
    await lines(box, "step", 3)


async def test_what_was_missed_is_made_up_for(box: Box) -> None:
    box.write("late.service", ONCE)
    box.write("late.timer", "[Timer]\nOnCalendar=yearly\nPersistent=yes\n")
    stamp = box.root / STAMP
    stamp.parent.mkdir(parents=True)
    await box.run("touch", "-d", "2020-01-01", f"/{STAMP}")
    assert (await box.systemctl("start", "late.timer")).exit_code == 0
    await lines(box, "late", 1)
    assert stamp.stat().st_mtime > 1_700_000_000
    assert (await box.systemctl("show", "-p", "SubState", "--value", "late.timer")).stdout == b"waiting\n"


async def test_one_whose_time_never_comes_is_elapsed(box: Box) -> None:
    box.write("past.service", ONCE)
    box.write("past.timer", "[Timer]\nOnCalendar=2020-01-01\n")
    assert (await box.systemctl("start", "past.timer")).exit_code == 0
    assert (await box.systemctl("show", "-p", "SubState", "--value", "past.timer")).stdout == b"elapsed\n"


async def test_nonsense_is_refused_and_housekeeping_left_out(box: Box) -> None:
    for text in ("OnCalendar=whenever", "Unit=x.service", "OnActiveSec=1\nUnit=bad.timer", "OnActiveSec=1\nUnit=a/b"):
        box.write("bad.timer", f"[Timer]\n{text}\n")
        await box.systemctl("daemon-reload")
        done = await box.systemctl("start", "bad.timer")
        assert (done.exit_code, b"bad unit file setting" in done.stderr) == (1, True), text
    box.write("apt-daily.timer", "[Timer]\nOnBootSec=0\n")
    assert (await box.systemctl("start", "apt-daily.timer")).exit_code == 0
    assert (await box.systemctl("is-active", "apt-daily.timer")).stdout == b"inactive\n"
