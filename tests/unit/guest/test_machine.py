"""What makes a folder and an agent into a sandbox."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.agent import machine
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity, ProcessSpec, TerminalSize

from .conftest import RunningAgent, running_agent

SECRET = b"a new secret"
LOOKS = 3000  # at a shell's files, some of which fall between two of its steps


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The folder of a root, which gets this machine's programs, read-only, in the agent's own mount namespace."""
    root = tmp_path / "image"
    for name in ("usr", "etc", "root"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path(f"/{name}").is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\nbroken line\nann:x:1000:1000::/home/ann:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nann:x:1000:\nbees:x:1001:bob,ann\nwrong:x:nan:ann\n")
    return root


@pytest.fixture
async def inside(image: Path) -> AsyncIterator[AgentClient]:
    """An agent that may enter `image`, and has not yet."""
    async with running_agent(("mount", "--bind", "-o", "ro", "/usr", str(image / "usr"))) as running:
        client = await running.connect()
        yield client
        await client.close()


async def shell(agent: AgentClient, text: str, user: str | None = None) -> str:
    result = await agent.run(ProcessSpec(shell=text, user=user, merge_output=True))
    return result.stdout.decode()


class TestEnter:
    async def test_image_is_the_root(self, inside: AgentClient, image: Path) -> None:
        (image / "mark").write_text("image")
        await inside.enter(str(image))
        assert await shell(inside, "cat /mark; ls -d /proc/self /sys/kernel /dev/null") == (
            "image/dev/null\n/proc/self\n/sys/kernel\n"
        )
        assert (await inside.stat("/mark")).size == 5
        async with inside.write("/written") as writer:
            await writer.write(b"x")
        assert (image / "written").read_text() == "x"

    async def test_places_to_write(self, inside: AgentClient, image: Path) -> None:
        await inside.enter(str(image))
        assert await shell(inside, "stat -c %a /tmp /dev/shm; stat -f -c %T /dev/shm") == "1777\n1777\ntmpfs\n"
        assert (image / "tmp").is_dir()
        assert await shell(inside, "echo x > /tmp/a; echo y > /dev/shm/b; cat /tmp/a /dev/shm/b", "ann") == "x\ny\n"
        assert (image / "tmp/a").exists()

    async def test_terminals_work(self, inside: AgentClient, image: Path) -> None:
        await inside.enter(str(image))
        result = await inside.run(ProcessSpec(shell="tty; echo > /dev/tty", terminal=TerminalSize(), user="ann"))
        assert result.stdout.startswith(b"/dev/pts/")
        assert result.exit_code == 0

    async def test_users_are_the_images(self, inside: AgentClient, image: Path) -> None:
        await inside.enter(str(image))
        assert (
            await shell(inside, "id -u; id -G; echo $HOME $SHELL; pwd", "ann")
            == "1000\n1000 1001\n/home/ann /bin/sh\n/\n"
        )
        with pytest.raises(errors.UserNotFound):
            await shell(inside, "id", "nobody")
        with (image / "etc/passwd").open("a") as file:
            file.write("new:x:1002:1002::/:\n")
        assert await shell(inside, "id -u", "new") == "1002\n"

    async def test_links_in_the_image_lead_nowhere(self, inside: AgentClient, image: Path, tmp_path: Path) -> None:
        """Where the image has a link or a file in the place of a mount point, nothing outside is touched."""
        outside = tmp_path / "outside"
        (outside / "shm").mkdir(parents=True)
        (outside / "kept").touch()
        (image / "proc").symlink_to(outside)
        (image / "sys").symlink_to("../outside")
        (image / "dev").write_text("a file")
        await inside.enter(str(image))
        assert (
            await shell(inside, "ls -d /proc/self/fd /sys/kernel /dev/null")
            == "/dev/null\n/proc/self/fd\n/sys/kernel\n"
        )
        assert sorted(path.name for path in outside.iterdir()) == ["kept", "shm"]
        assert list((outside / "shm").iterdir()) == []

    async def test_root_that_is_a_link(self, inside: AgentClient, image: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(image)
        with pytest.raises(errors.NotADirectory):
            await inside.enter(f"{tmp_path}/link")

    async def test_missing(self, inside: AgentClient, tmp_path: Path) -> None:
        with pytest.raises(errors.FileNotFound):
            await inside.enter(f"{tmp_path}/missing")
        assert await shell(inside, "echo on") == "on\n"

    async def test_image_without_anything(self, inside: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        await inside.enter(f"{tmp_path}/empty")
        for spec in (ProcessSpec(shell="true"), ProcessSpec(argv=("sh",))):
            with pytest.raises(errors.CommandNotFound):
                await inside.run(spec)
        assert [info.name for info in await inside.list("/")] == ["dev", "proc", "sys", "tmp"]
        assert await inside.thaw(Identity(SECRET, hostname="bare", hosts="x\n")) == []
        assert (tmp_path / "empty/etc/hosts").read_text() == "x\n"


class TestThaw:
    async def test_identity(self, inside: AgentClient, image: Path) -> None:
        await inside.enter(str(image))
        identity = Identity(
            SECRET,
            hostname="ben",
            hosts="127.0.0.1 ben\n",
            resolv_conf="nameserver 192.0.2.1\n",
            machine_id="0123\n",
            env={"COLOUR": "red"},
            user="ann",
        )
        assert await inside.thaw(identity) == []
        text = "uname -n; cat /etc/hostname /etc/hosts /etc/resolv.conf /etc/machine-id; echo $COLOUR $USER"
        assert await shell(inside, text) == "ben\nben\n127.0.0.1 ben\nnameserver 192.0.2.1\n0123\nred ann\n"
        assert await shell(inside, "id -un", "root") == "root\n"

    async def test_the_users_group(self, inside: AgentClient, image: Path) -> None:
        """As `USER ann:7` of an image has it: that group alone, whoever names the user; for root too."""
        await inside.enter(str(image))
        assert await inside.thaw(Identity(SECRET, user="ann", group="7")) == []
        assert [await shell(inside, "id -G", user) for user in (None, "ann", "root")] == ["7\n", "7\n", "0\n"]
        await inside.thaw(Identity(SECRET, user="root", group="bees"))
        assert [await shell(inside, "id -G", user) for user in (None, "ann")] == ["1001\n", "1000 1001\n"]
        await inside.thaw(Identity(SECRET, user="ann", group="nobodys"))
        with pytest.raises(errors.UserNotFound):
            await shell(inside, "id -G")

    async def test_environment_is_replaced(self, inside: AgentClient, image: Path) -> None:
        await inside.enter(str(image))
        await inside.thaw(Identity(SECRET, env={"A": "1", "B": "1"}))
        await inside.thaw(Identity(SECRET, env={"B": "2"}))
        assert await shell(inside, "echo $A-$B") == "-2\n"

    async def test_links_are_replaced_not_followed(self, inside: AgentClient, image: Path) -> None:
        (image / "victim").write_text("kept")
        (image / "etc/resolv.conf").symlink_to("/victim")
        (image / "etc/hosts").symlink_to("/dev/missing/hosts")
        await inside.enter(str(image))
        assert await inside.thaw(Identity(SECRET, hosts="h\n", resolv_conf="r\n")) == []
        assert (image / "victim").read_text() == "kept"
        assert (image / "etc/resolv.conf").read_text() == "r\n"
        assert (image / "etc/hosts").read_text() == "h\n"

    async def test_full_disk_is_told(self, inside: AgentClient, image: Path) -> None:
        await inside.enter(str(image))
        full = "mount -t tmpfs -o size=4k none /etc && dd if=/dev/zero of=/etc/fill bs=4k count=1 2> /dev/null; echo ok"
        assert await shell(inside, full) == "ok\n"
        problems = await inside.thaw(Identity(SECRET, hostname="full", hosts="127.0.0.1 full\n"))
        assert sorted(problem.split(":")[0] for problem in problems) == ["/etc/hostname", "/etc/hosts"]
        assert await shell(inside, "uname -n") == "full\n"

    async def test_clock_that_is_off_is_told(self, agent: AgentClient) -> None:
        (problem,) = await agent.thaw(Identity(SECRET, time_unix=1000.0))
        assert "clock" in problem

    @pytest.mark.parametrize("hostname", ["", "x" * 65])
    async def test_impossible_host_name(self, agent: AgentClient, hostname: str) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.thaw(Identity(SECRET, hostname=hostname))


class TestFirstProcess:
    @pytest.mark.parametrize("user", ["root", "nobody"])
    async def test_survives_a_kill_of_everything(self, agent: AgentClient, user: str) -> None:
        started = await agent.start(ProcessSpec(argv=("sleep", "1000"), user=user))
        await agent.run(ProcessSpec(shell="kill -9 -1; :", user=user))
        assert (await agent.wait(started.pid, timeout=30)).signal == 9
        assert await shell(agent, "echo on") == "on\n"

    async def test_survives_signals_to_itself(self, agent: AgentClient) -> None:
        numbers = "HUP INT QUIT TERM USR1 USR2 ALRM PIPE TSTP TTIN TTOU IO PWR STOP KILL SEGV ABRT"
        await agent.run(ProcessSpec(shell=f"for n in {numbers}; do kill -$n 1; done"))
        await agent.ping()

    async def test_collects_orphans(self, agent: AgentClient) -> None:
        await agent.run(ProcessSpec(shell="for i in $(seq 200); do (true &) ; done; :"))
        await asyncio.wait_for(agent.wait_alone(), 30)
        assert (await shell(agent, "grep -hc '^State:.*Z' /proc/[0-9]*/status | sort -u")).split() == ["0"]


class TestFigures:
    async def test_metrics(self, agent: AgentClient) -> None:
        await agent.metrics()
        await agent.run(ProcessSpec(shell="i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"))
        found = await agent.metrics()
        disk = os.statvfs("/")
        assert found.cpu_count == os.cpu_count()
        assert 0 < found.cpu_used_percent <= 100
        assert 0 < found.memory_used < found.memory_total
        assert found.disk_total == disk.f_blocks * disk.f_frsize
        assert 0 < found.disk_used <= found.disk_total
        assert found.uptime > 0

    async def test_deleted_files(self, agent: AgentClient, running: RunningAgent) -> None:
        """Open files of the root without a name: what keeps a checkpoint from being made."""
        path = "/var/tmp/moonpool-test-deleted"
        started = await agent.start(ProcessSpec(shell=f"exec 5> {path}; rm {path}; echo gone; sleep 1000; :"))
        async with agent.attach(started.pid) as events:
            await anext(events)
        found = [file for file in await agent.deleted_files() if file.path == path]
        assert {file.pid for file in found} >= {started.pid}
        assert (found[0].process or "").startswith("bash")
        await agent.forget(started.pid)

    def test_a_shell_that_redirects_its_output_holds_no_deleted_file(self, tmp_path: Path) -> None:
        """Its descriptor 1 is /dev/null in one moment, and the file in the next."""
        log = tmp_path / "log"
        code = f"exec 7> {log}; echo begun; exec > /dev/null; while :; do echo x >&7; done"
        null = subprocess.DEVNULL
        with subprocess.Popen(["dash", "-c", code], stdin=null, stdout=subprocess.PIPE, stderr=null) as shell:
            assert shell.stdout is not None
            shell.stdout.read()
            try:
                looks = [machine.deleted_files(0, {log.stat().st_dev}, [shell.pid]) for _ in range(LOOKS)]
            finally:
                shell.kill()
        assert not [file for look in looks for file in look]
