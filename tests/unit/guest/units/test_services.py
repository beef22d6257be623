"""Services under a real agent: how they start, end, come back."""

from tests.unit.guest.units.conftest import Box


async def test_a_service_runs_is_seen_and_stops(box: Box) -> None:
    box.write(
        "web.service", "[Unit]\nDescription=A server\n[Service]\nExecStart=/bin/sh -c 'echo up; exec sleep 600'\n"
    )
    done = await box.systemctl("start", "web")
    assert (done.exit_code, done.stderr) == (0, b"")
    assert await box.state("web.service") == "active/running"
    assert (await box.systemctl("is-active", "web")).stdout == b"active\n"
    assert (await box.systemctl("stop", "web")).exit_code == 0
    assert await box.state("web.service") == "inactive/dead"
    logs = (await box.journalctl("-u", "web", "-o", "cat")).stdout.decode().splitlines()
    assert logs == ["Starting web.service - A server...", "Started web.service - A server.", "up"] + [
        "Stopping web.service - A server...", "Deactivated successfully.", "Stopped web.service - A server."
    ]  # fmt: skip
