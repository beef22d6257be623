"""What Debian's packages and the scripts of services count on: generators, syslog, systemd-notify."""

import os
import stat
from pathlib import Path

from tests.unit.guest.conftest import RunningAgent
from tests.unit.guest.units.conftest import CLIENT, Box
from tests.unit.guest.units.test_boot import booted

GENERATOR = """#!/bin/sh
mkdir -p "$1/all.service.wants"
ln -s /etc/systemd/system/part@.service "$1/all.service.wants/part@one-two.service"
"""
SYSLOG = "import syslog; syslog.openlog('tag', syslog.LOG_PID); syslog.syslog(syslog.LOG_ERR, 'a word')"


async def test_units_that_a_package_makes_at_a_boot(entered: tuple[RunningAgent, Path]) -> None:
    _, root = entered
    for name, text in (("instances", GENERATOR), ("broken", "#!/bin/sh\nexit 1\n"), ("systemd-x", GENERATOR)):
        program = root / "etc/systemd/system-generators" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    (root / "etc/conf/one").mkdir(parents=True)
    (root / "etc/conf/one/two").touch()
    part = "[Unit]\nAssertPathExists=/etc/conf/%I\nBefore=all.service\nPartOf=all.service\n"
    whole = root / "etc/systemd/system"
    (whole / "part@.service").write_text(part + "[Service]\nExecStart=/bin/sleep 600\n")
    step = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
    box = await booted(entered, {"all.service": step})
    assert await box.state("part@one-two.service") == "active/running"
    assert b"/etc/systemd/system-generators/broken failed." in (await box.journalctl("-o", "cat")).stdout
    assert (await box.systemctl("restart", "all")).exit_code == 0
    assert await box.state("part@one-two.service") == "active/running"
    (root / "etc/systemd/system-generators/instances").unlink()
    (root / "etc/conf/one/two").unlink()
    assert (await box.systemctl("stop", "all")).exit_code == 0
    assert (await box.systemctl("daemon-reload")).exit_code == 0
    assert (await box.systemctl("start", "all")).exit_code == 0
    assert await box.state("part@one-two.service") == "inactive/dead"
    refused = await box.systemctl("start", "part@one-two")
    assert refused.exit_code == 1
    assert b"assertion" in (await box.journalctl("-u", "part@one-two", "-o", "cat")).stdout
    await box.agent.close()


async def test_folders_that_packages_want(entered: tuple[RunningAgent, Path]) -> None:
    _, root = entered
    lists = root / "etc/tmpfiles.d"
    lists.mkdir()
    (lists / "db.conf").write_text(
        "# what a database has\nd /run/db/in 2775 daemon bin -\nd /run/db 0750 daemon daemon -\n"
        "f /run/db/note 0640 - - - two\\twords %t\nL /run/db/link - - - - /etc/passwd\nr! /etc/db.lock\n"
        "D! /tmp/kept 0700\nd /run/nobodys - no-such-user\nx /run/nothing\nd relative\n"
    )
    (root / "etc/db.lock").touch()
    (root / "tmp/kept").mkdir()
    (root / "tmp/kept/file").touch()
    box = await booted(entered, {"db.service": "[Service]\nType=oneshot\nExecStart=/bin/cp /run/db/note /root/seen\n"})
    folder, inner, note = (root / name for name in ("run/db", "run/db/in", "run/db/note"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, inner, note)] == [0o750, 0o2775, 0o640]
    assert [(path.stat().st_uid, path.stat().st_gid) for path in (folder, inner)] == [(1, 1), (1, 2)]
    assert (root / "root/seen").read_text() == "two\twords /run"
    assert (root / "run/db/link").readlink() == Path("/etc/passwd")
    assert ((root / "etc/db.lock").exists(), (root / "tmp/kept/file").exists()) == (False, True)
    said = (await box.journalctl("-o", "cat")).stdout
    assert b"no such user: no-such-user, ignoring line." in said
    assert b"Path 'relative' is not absolute" in said
    await box.agent.close()


async def test_the_program_that_makes_them(entered: tuple[RunningAgent, Path]) -> None:
    box = await booted(entered, {})
    (box.root / "etc/tmpfiles.d").mkdir()
    (box.root / "etc/tmpfiles.d/web.conf").write_text("d /run/web\nR /run/old\nz /run/web/* 0600\n")
    for name in ("old/deep", "web"):
        (box.root / "run" / name).mkdir(parents=True)
    (box.root / "run/web/file").touch()
    assert (await box.tmpfiles("--create", "web.conf", "--exclude-prefix=/run/web/")).exit_code == 0
    assert stat.S_IMODE((box.root / "run/web/file").stat().st_mode) == 0o644
    assert (await box.tmpfiles("--root=/", "--create", "--remove")).exit_code == 0
    assert ((box.root / "run/old").exists(), stat.S_IMODE((box.root / "run/web/file").stat().st_mode)) == (False, 0o600)
    (box.root / "run/web").chmod(0o777)
    os.chown(box.root / "run/web", 1, 1)
    (box.root / "run/web/way").symlink_to("/etc")
    os.chown(box.root / "run/web/way", 1, 1, follow_symlinks=False)
    (box.root / "etc/tmpfiles.d/trap.conf").write_text("f /run/web/way/made 0644\n")
    refused = await box.tmpfiles("--create", "trap.conf")
    assert (refused.exit_code, b"unsafe" in refused.stderr, (box.root / "etc/made").exists()) == (65, True, False)
    for words, user in ((("--create", "none.conf"), "root"), (("--clean",), "root"), (("--create",), "nobody")):
        assert (await box.tmpfiles(*words, user=user)).exit_code != 0
    await box.agent.close()


async def test_what_packages_ask_for_when_they_are_installed(entered: tuple[RunningAgent, Path]) -> None:
    box = await booted(entered, {})
    box.write("web.service", "[Service]\nExecStart=/bin/sleep 600\n[Install]\nWantedBy=multi-user.target\n")
    assert (await box.systemctl("is-active", "--quiet", "sysinit.target")).exit_code == 0
    assert (await box.systemctl("--root=/", "--preset-mode=enable-only", "preset", "web.service")).exit_code == 0
    assert (await box.systemctl("is-enabled", "web.service")).stdout == b"enabled\n"
    await box.agent.close()


async def test_syslog_is_the_journal(box: Box) -> None:
    box.write(
        "talker.service",
        f'[Service]\nType=oneshot\nExecStart=/usr/bin/python3 -IS -c "{SYSLOG}; import time; time.sleep(0.3)"\n',
    )
    assert (await box.systemctl("start", "talker")).exit_code == 0
    said = (await box.journalctl("-u", "talker", "-t", "tag", "-p", "err", "-o", "cat")).stdout
    assert said == b"a word\n"
    assert (await box.run("/usr/bin/python3", "-IS", "-c", SYSLOG)).exit_code == 0
    assert (await box.journalctl("-t", "tag", "-o", "cat")).stdout == b"a word\n" * 2


async def test_a_script_tells_that_it_is_ready(box: Box) -> None:
    notify = f"/usr/bin/python3 -IS {CLIENT} systemd-notify"
    script = f"{notify} --booted && {notify} --ready --status=fine && exec sleep 600"
    box.write("script.service", f"[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '{script}'\n")
    assert (await box.systemctl("start", "script")).exit_code == 0
    assert (await box.systemctl("show", "-p", "StatusText", "--value", "script")).stdout == b"fine\n"
    alone = await box.run("/usr/bin/python3", "-IS", CLIENT, "systemd-notify", "--ready")
    assert (alone.exit_code, b"NOTIFY_SOCKET" in alone.stderr) == (1, True)


async def test_what_is_masked_while_it_runs_does_not_start_again(box: Box) -> None:
    runtime = box.root / "run/systemd/system"
    runtime.mkdir(parents=True, exist_ok=True)
    (runtime / "web.service").write_text("[Service]\nExecStart=/bin/sleep 600\n")
    assert (await box.systemctl("start", "web")).exit_code == 0
    await box.systemctl("mask", "web")
    refused = await box.systemctl("restart", "web")
    assert (refused.exit_code, b"is masked" in refused.stderr) == (1, True)
    assert await box.state("web.service") == "active/running"
    await box.systemctl("unmask", "web")
    assert (await box.systemctl("restart", "web")).exit_code == 0


async def test_what_a_sandbox_has_not(box: Box) -> None:
    for verb, words in (("poweroff", b"through its API"), ("isolate", b"not supported in a sandbox")):
        refused = await box.systemctl(verb)
        assert (refused.exit_code, words in refused.stderr) == (1, True)
    assert (await box.systemctl("list-jobs")).stdout == b"No jobs running.\n"
    (box.root / "root/mine.service").write_text("[Service]\nExecStart=/bin/sleep 600\n")
    assert (await box.systemctl("link", "/root/mine.service")).exit_code == 0
    assert (await box.systemctl("start", "mine")).exit_code == 0
    assert (await box.systemctl("link", "/root/none.service")).exit_code == 1
