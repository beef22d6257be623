"""What people type at ``systemctl`` and ``journalctl``: nothing is taken without being done."""

import json

import pytest

from tests.unit.guest.units.conftest import Box

ECHO = "[Service]\nType=oneshot\nExecStart=/bin/sh -c '{}'\n"
SCRIPT = """#!/bin/sh
### BEGIN INIT INFO
# Provides: old
# Short-Description: An old daemon
### END INIT INFO
case "$1" in
  start) mkdir -p /run/old; echo started >>/root/old ;;
  stop) echo stopped >>/root/old ;;
  restart|reload) echo reloaded >>/root/old ;;
esac
"""


async def lines(box: Box, *words: str) -> list[str]:
    done = await box.journalctl(*words)
    assert done.exit_code == 0, done.stderr
    return done.stdout.decode().splitlines()


async def test_what_is_not_understood_is_refused(box: Box) -> None:
    box.write("web.service", "[Service]\nExecStart=/bin/sleep 600\n")
    for words, said in (
        (("--frobnicate", "start", "web"), b"unrecognized option '--frobnicate'"),
        (("--dry-run", "start", "web"), b"option '--dry-run' is not supported in a sandbox"),
        (("--root=/mnt", "enable", "web"), b"option '--root' is not supported in a sandbox"),
        (("import-environment", "PATH"), b"is not supported in a sandbox"),
        (("--user", "start", "web"), b"Failed to connect to bus"),
    ):
        done = await box.systemctl(*words)
        assert (done.exit_code, said in done.stderr) == (1, True), (words, done.stderr)
    assert await box.state("web.service") == "inactive/dead"
    for words, said in (
        (("--user",), b"option '--user' is not supported in a sandbox"),
        (("--nonsense",), b"unrecognized option '--nonsense'"),
        (("-b", "-1"), b"No such boot ID in journal"),
        (("web.service",), b"Failed to add match 'web.service'"),
        (("-n", "many"), b"Failed to add match"),
        (("-o", "runes"), b"Unknown output format"),
        (("-g", "(", "--no-pager"), b"Failed to compile pattern"),
    ):
        done = await box.journalctl(*words)
        assert (done.exit_code, said in done.stderr) == (1, True), (words, done.stderr)
    assert b"COMMAND" in (await box.systemctl("--help")).stdout
    assert b"--grep" in (await box.journalctl("-h")).stdout


async def test_the_environment_of_all_services(box: Box) -> None:
    box.write("tell.service", ECHO.format("echo told $COLOUR >/root/told"))
    assert (await box.systemctl("set-environment", "COLOUR=dark red")).exit_code == 0
    assert (await box.systemctl("show-environment", user="nobody")).stdout == b"COLOUR=dark red\n"
    assert (await box.systemctl("show", "-p", "Environment")).stdout == b"Environment=COLOUR=dark red\n"
    assert (await box.systemctl("set-environment", "COLOUR")).exit_code == 1
    await box.systemctl("start", "tell")
    assert (box.root / "root/told").read_text() == "told dark red\n"
    await box.systemctl("unset-environment", "COLOUR")
    assert (await box.systemctl("show-environment")).stdout == b""


async def test_dependencies_are_a_tree_in_both_directions(box: Box) -> None:
    sleep = "[Service]\nExecStart=/bin/sleep 600\n[Install]\nWantedBy=multi-user.target\n"
    box.write("db.service", sleep)
    box.write("web.service", "[Unit]\nRequires=db.service\n" + sleep)
    (box.root / "root/web2.service").write_text("[Unit]\nWants=db.service\n" + sleep)
    assert (await box.systemctl("enable", "--now", "web", "/root/web2.service")).exit_code == 0
    assert await box.state("web2.service") == "active/running"
    shown = (await box.systemctl("list-dependencies", "--all", "multi-user.target")).stdout.decode().splitlines()
    assert shown == ["multi-user.target", "● ├─web.service", "● │ └─db.service", "● └─web2.service", "●   └─db.service"]
    found = (await box.systemctl("list-dependencies", "--reverse", "--plain", "db")).stdout.decode().splitlines()
    assert found == ["db.service", "  web.service", "  web2.service"]


async def test_starting_can_wait_for_the_end_and_a_process_tells_its_service(box: Box) -> None:
    box.write("work.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.1; echo done >/root/done; exit 3'\n")
    done = await box.systemctl("start", "--wait", "work")
    assert (done.exit_code, (box.root / "root/done").read_text()) == (1, "done\n")
    box.write("stay.service", "[Service]\nExecStart=/bin/sleep 600\n")
    await box.systemctl("start", "stay")
    pid = (await box.systemctl("show", "-p", "MainPID", "--value", "stay")).stdout.decode().strip()
    assert b"stay.service" in (await box.systemctl("status", pid)).stdout
    assert b"path=/bin/sleep ; argv[]=/bin/sleep 600" in (await box.systemctl("show", "-p", "ExecStart", "stay")).stdout


async def test_lines_are_found_by_field_level_pattern_and_boot(box: Box) -> None:
    said = 'echo "<3>Bad Luck"; echo "<4>a warning"; echo "<6>good luck"; echo "<7>details"'
    box.write("loud.service", ECHO.format(said))
    await box.systemctl("start", "loud")
    own = ("_SYSTEMD_UNIT=loud.service", "-o", "cat")
    assert await lines(box, *own) == ["Bad Luck", "a warning", "good luck", "details"]
    assert await lines(box, *own, "-p", "warning") == ["Bad Luck", "a warning"]
    assert await lines(box, *own, "-p", "warning..info") == ["a warning", "good luck"]
    assert await lines(box, *own, "PRIORITY=3", "PRIORITY=7") == ["Bad Luck", "details"]
    assert await lines(box, "PRIORITY=7", "+", "PRIORITY=3", "-o", "cat") == ["Bad Luck", "details"]
    assert await lines(box, *own, "-g", "luck") == ["Bad Luck", "good luck"]
    assert await lines(box, *own, "--grep=Luck") == ["Bad Luck"]
    assert await lines(box, *own, "-g", "luck", "-n", "1") == ["good luck"]
    assert await lines(box, *own, "-g", "luck", "-n", "+1") == ["Bad Luck"]
    assert await lines(box, *own, "-g", "luck", "-r") == ["good luck", "Bad Luck"]
    assert await lines(box, "-u", "loud", "-g", "nothing like it") == ["-- No entries --"]
    assert await lines(box, *own, "-b") == await lines(box, *own, "-b", "0")
    assert await lines(box, "-k") == ["-- No entries --"]
    assert "loud.service" in await lines(box, "-F", "_SYSTEMD_UNIT")
    assert "MESSAGE" in await lines(box, "-N")
    shown = json.loads("\n".join(await lines(box, *own[:1], "-n1", "-o", "json-pretty", "--output-fields=MESSAGE")))
    assert set(shown) == {"MESSAGE", "__CURSOR", "__REALTIME_TIMESTAMP"}
    assert "    MESSAGE=details" in await lines(box, *own[:1], "-n1", "-o", "verbose")
    assert len(await lines(box, "--list-boots")) == 2


async def test_a_pattern_that_never_ends_holds_up_nobody_else(box: Box) -> None:
    box.write("long.service", ECHO.format(f"echo {'a' * 60}b"))
    await box.systemctl("start", "long")
    await box.run("sh", "-c", "timeout 1 /usr/bin/python3 -IS /client.py journalctl -g '(a+)+$' >/dev/null 2>&1 &")
    assert (await box.systemctl("is-active", "long")).exit_code == 3


@pytest.mark.parametrize("name", ["old", "old.service"])
async def test_a_service_that_is_a_script(box: Box, name: str) -> None:
    script = box.root / "etc/init.d/old"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    assert (await box.systemctl("start", name)).exit_code == 0
    assert await box.state("old.service") == "active/exited"
    assert b"LSB: An old daemon" in (await box.systemctl("status", name)).stdout
    assert (await box.systemctl("is-enabled", name)).stdout == b"generated\n"
    assert b"update-rc.d old enable" in (await box.systemctl("enable", name)).stderr
    assert (await box.systemctl("reload", name)).exit_code == 0
    assert (await box.systemctl("stop", name)).exit_code == 0
    assert (box.root / "root/old").read_text().split() == ["started", "reloaded", "stopped"]


async def test_a_program_has_its_mask_and_limits_from_its_first_moment(box: Box) -> None:
    tell = "umask >/root/mask; ulimit -l >>/root/mask; cat >>/root/mask"
    service = f"[Service]\nType=oneshot\nUMask=0077\nLimitMEMLOCK=64K\nExecStart=/bin/sh -c '{tell}'\n"
    box.write("bounded.service", f"[Unit]\nStartLimitIntervalSec=0\n{service}")
    for _ in range(20):
        assert (await box.systemctl("start", "bounded")).exit_code == 0
        assert (box.root / "root/mask").read_text().split() == ["0077", "64"]
    box.write("missing.service", "[Service]\nLimitNOFILE=64\nExecStart=/usr/bin/nothing-here\n")
    await box.systemctl("daemon-reload")
    assert (await box.systemctl("start", "missing")).exit_code == 1
    assert b"status=203/EXEC" in (await box.systemctl("status", "missing")).stdout


async def test_a_limit_of_time(box: Box) -> None:
    box.write("short.service", "[Service]\nRuntimeMaxSec=200ms\nExecStart=/bin/sleep 600\n")
    assert (await box.systemctl("start", "short")).exit_code == 0
    unit = await box.until("short.service", "failed/failed")
    assert unit["result"] == "timeout"


async def test_ends_by_a_real_time_signal_are_seen(box: Box) -> None:
    box.write("odd.service", "[Service]\nExecStart=/bin/sleep 600\n")
    await box.systemctl("start", "odd")
    assert (await box.systemctl("kill", "-s", "RTMIN+3", "odd")).exit_code == 0
    assert (await box.until("odd.service", "failed/failed"))["result"] == "signal"
    assert "Main process exited, code=killed, status=37/RTMIN+3" in await lines(box, "-u", "odd", "-o", "cat")
    done = await box.systemctl("kill", "-s", "NONSENSE", "odd")
    assert (done.exit_code, done.stderr) == (1, b"not a signal: NONSENSE\n")


async def test_what_a_sandbox_does_not_do_is_said(box: Box) -> None:
    box.write("in.mount", "[Mount]\nWhat=/dev/x\nWhere=/in\n[Install]\nWantedBy=local-fs.target\n")
    box.write(
        "in.service", "[Unit]\nRequires=in.mount\n[Service]\nMemoryMax=1G\nPrivateUsers=yes\nExecStart=/bin/sleep 9\n"
    )
    for words in (("start", "in.mount"), ("enable", "--now", "in.mount"), ("start", "in.mount")):
        done = await box.systemctl(*words)
        assert (done.exit_code, b"of a kind that sandboxes do not have" in done.stderr) == (1, True)
    assert await box.state("in.mount") == "inactive/dead"
    assert (await box.systemctl("start", "in")).exit_code == 0
    said = await lines(box, "-u", "in", "-o", "cat")
    assert said[:2] == [
        "Not carried out in a sandbox: MemoryMax=, PrivateUsers=.",
        "Starting without in.mount: of a kind that sandboxes do not have.",
    ]
