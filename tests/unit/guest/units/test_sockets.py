"""Units that start others when somebody connects, or when a path changes."""

import json

from tests.unit.guest.units.conftest import Box

ANSWER = """
import json, os, socket, sys
given = {name: os.environ.get(name) for name in ("LISTEN_FDS", "LISTEN_FDNAMES")}
given["mine"] = os.environ.get("LISTEN_PID") == str(os.getpid())
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.recv(100)  # Who speaks to one that has hung up already is refused, and never reads the answer.
    connection.sendall(json.dumps(given).encode())
    connection.close()
    if len(sys.argv) > 1:
        break
"""
ASK = """
import socket, sys
family = socket.AF_UNIX if sys.argv[1].startswith("/") else socket.AF_INET
with socket.socket(family) as it:
    it.connect(sys.argv[1] if family == socket.AF_UNIX else ("127.0.0.1", int(sys.argv[1])))
    it.sendall(b"word\\n")
    while data := it.recv(1000):
        sys.stdout.buffer.write(data)
"""
PYTHON = "/usr/bin/python3 -IS"


async def ask(box: Box, where: str) -> bytes:
    (box.root / "ask.py").write_text(ASK)
    return (await box.run("/usr/bin/python3", "-IS", "/ask.py", where)).stdout


def lay(box: Box, socket: str, service: str) -> None:
    (box.root / "answer.py").write_text(ANSWER)
    box.write("web.socket", f"[Socket]\nListenStream=/run/web/its.socket\n{socket}[Install]\nWantedBy=sockets.target\n")
    box.write("web.service", f"[Service]\n{service}")


async def test_who_comes_first_has_the_service_started(box: Box) -> None:
    lay(box, "SocketMode=0600\nFileDescriptorName=door\nRemoveOnStop=yes\n", f"ExecStart={PYTHON} /answer.py\n")
    assert (await box.systemctl("enable", "--now", "web.socket")).exit_code == 0
    assert (await box.state("web.socket"), await box.state("web.service")) == ("active/listening", "inactive/dead")
    assert (box.root / "run/web/its.socket").stat().st_mode & 0o777 == 0o600
    assert json.loads(await ask(box, "/run/web/its.socket")) == {
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "door",
        "mine": True,
    }
    assert await box.state("web.socket") == "active/running"
    assert b"its.socket" in (await box.systemctl("list-sockets")).stdout
    assert (await box.systemctl("stop", "web.service")).exit_code == 0
    assert await box.state("web.socket") == "active/listening"
    assert json.loads(await ask(box, "/run/web/its.socket"))["mine"]
    assert (await box.systemctl("restart", "web.service")).exit_code == 0
    assert json.loads(await ask(box, "/run/web/its.socket"))["mine"]
    assert (await box.systemctl("stop", "web.socket", "web.service")).exit_code == 0
    assert not (box.root / "run/web/its.socket").exists()


async def test_limits_and_sockets_go_together(box: Box) -> None:
    lay(box, "", f"LimitNOFILE=512\nUMask=0077\nExecStart={PYTHON} /answer.py once\n")
    assert (await box.systemctl("start", "web.socket")).exit_code == 0
    for _ in range(2):
        assert json.loads(await ask(box, "/run/web/its.socket"))["mine"]
        await box.until("web.socket", "active/listening")


async def test_a_service_for_each_connection(box: Box) -> None:
    box.write("echo.socket", "[Socket]\nListenStream=127.0.0.1:7007\nAccept=yes\n")
    script = 'read -r line; echo "$$line from $REMOTE_ADDR"; echo said >&2'
    box.write(
        "echo@.service",
        f"[Service]\nStandardInput=socket\nStandardError=journal\nExecStart=-/bin/sh -c '{script}'\n",
    )
    assert (await box.systemctl("start", "echo.socket")).exit_code == 0
    assert [await ask(box, "7007") for _ in range(2)] == [b"word from 127.0.0.1\n"] * 2
    assert b"NAccepted=2" in (await box.systemctl("show", "echo.socket")).stdout
    await box.agent.units.settle(60)
    listed = (await box.systemctl("list-units", "--all", "--no-legend", "echo@*")).stdout
    assert listed == b""


async def test_a_service_that_never_comes_up_ends_its_socket(box: Box) -> None:
    lay(box, "", "ExecStart=/bin/false\n")
    assert (await box.systemctl("start", "web.socket")).exit_code == 0
    (box.root / "ask.py").write_text(ASK)
    await box.run("/usr/bin/python3", "-IS", "/ask.py", "/run/web/its.socket")
    await box.until("web.socket", "failed/failed")
    assert (await box.systemctl("show", "-p", "Result", "--value", "web.socket")).stdout == b"service-start-limit-hit\n"
    await box.systemctl("reset-failed", "web.service", "web.socket")
    assert (await box.systemctl("start", "web.socket")).exit_code == 0


async def test_bad_sockets(box: Box) -> None:
    for setting, why in (
        ("ListenStream=no-port", b"Failed to parse address value"),
        ("ListenNetlink=route", b"is not there in a sandbox"),
        ("Backlog=1", b"no Listen setting"),
    ):
        box.write("bad.socket", f"[Socket]\n{setting}\n")
        refused = await box.systemctl("start", "bad.socket")
        assert (refused.exit_code, why in refused.stderr) == (1, True), refused
    box.write("twice.socket", "[Socket]\nListenStream=127.0.0.1:7008\nListenStream=127.0.0.1:7008\n")
    box.write("twice.service", "[Service]\nExecStart=/bin/sleep 600\n")
    assert (await box.systemctl("start", "twice.socket")).exit_code == 1
    assert b"Address already in use" in (await box.journalctl("-u", "twice.socket", "-o", "cat")).stdout
    assert (await box.systemctl("start", "twice.service")).exit_code == 0
    box.write("twice.socket", "[Socket]\nListenStream=127.0.0.1:7008\n")
    await box.systemctl("daemon-reload")
    assert (await box.systemctl("start", "twice.socket")).exit_code == 1


async def test_a_path_that_comes_and_changes(box: Box) -> None:
    box.write("there.path", "[Path]\nPathExists=/srv/deep/note\nUnit=take.service\n")
    box.write("take.service", "[Service]\nType=oneshot\nExecStart=/bin/mv /srv/deep/note /srv/taken\n")
    box.write("change.path", "[Path]\nPathChanged=/srv/file\n")
    box.write("change.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo seen >>/root/changes'\n")
    assert (await box.systemctl("start", "there.path", "change.path")).exit_code == 0
    assert await box.state("there.path") == "active/waiting"
    await box.run("mkdir", "-p", "/srv/deep")
    for _ in range(2):
        await box.run("/bin/sh", "-c", "echo word >/srv/deep/note")
        await box.run("/bin/sh", "-c", "while ! rm /srv/taken 2>/dev/null; do sleep 0.01; done")
    await box.run("/bin/sh", "-c", "echo word >/srv/file; while ! test -s /root/changes; do sleep 0.01; done")
    assert b"/srv/deep/note PathExists" in (await box.systemctl("list-paths")).stdout
    assert (await box.systemctl("stop", "there.path", "change.path")).exit_code == 0
    assert await box.state("there.path") == "inactive/dead"


async def test_a_path_that_stays_does_not_start_for_ever(box: Box) -> None:
    box.write("full.path", "[Path]\nDirectoryNotEmpty=/srv/box\nMakeDirectory=yes\n")
    box.write("full.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    assert (await box.systemctl("start", "full.path")).exit_code == 0
    await box.run("touch", "/srv/box/file")
    await box.until("full.path", "failed/failed")
    assert (await box.systemctl("show", "-p", "Result", "--value", "full.path")).stdout == b"unit-start-limit-hit\n"
