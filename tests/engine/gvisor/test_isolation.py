"""What root inside a sandbox must not get at, tried from inside."""

import os

import pytest

from moonpool.engine.gvisor import spec

REMOUNT = "libc.mount(None, {!r}.encode(), None, 32, None)"  # 32: MS_REMOUNT, that is, writable from now on
LEAVE_CHROOT = """
here = os.open("/", 0)
os.makedirs("/below", exist_ok=True)
os.chroot("/below")
os.fchdir(here)
for _ in range(64):
    os.chdir("..")
os.chroot(".")
"""


@pytest.fixture
def inside(engine):
    """A box whose agent has not entered its disk: nothing stands between root and what sandboxes share."""
    with engine.box() as box, box.agent() as agent:
        agent.exec("import ctypes, os, socket; libc = ctypes.CDLL(None, use_errno=True)")
        yield agent


@pytest.mark.parametrize("folder", ["/", "/.agent", "/.agent/lib", "/.late", "/.late/root"])
def test_what_sandboxes_share_cannot_be_written_even_after_a_remount(inside, engine, folder):
    mount = f"/{folder.split('/')[1]}"
    inside.eval(REMOUNT.format(mount))
    for code in (f"open('{folder}/planted', 'w')", f"os.mkdir('{folder}/planted')", f"os.chmod('{folder}', 0o777)"):
        with pytest.raises(AssertionError, match="Read-only file system"):
            inside.exec(code)


def test_the_agents_files_cannot_be_removed_or_replaced(inside):
    inside.eval(REMOUNT.format("/.agent"))
    for code in (
        "os.unlink('/.agent/bin/python3')",
        "os.rename('/.agent/bin', '/.agent/nib')",
        "os.truncate('/.agent/lib/ld.so', 0)",
    ):
        with pytest.raises(AssertionError, match="Read-only file system"):
            inside.exec(code)


def test_whoever_leaves_the_chroot_finds_only_what_is_read_only(engine):
    with engine.entered() as (_box, agent):
        agent.exec("import os")
        agent.exec(LEAVE_CHROOT)
        for path in ("/planted", "/.agent/planted", "/.late/planted"):
            with pytest.raises(AssertionError, match=r"Read-only file system|No such file"):
                agent.exec(f"open({path!r}, 'w')")
        assert not (engine.instance.run / "empty/planted").exists()
        assert not (engine.instance.run / "late/planted").exists()


@pytest.mark.parametrize(
    "kind", ["AF_INET, socket.SOCK_RAW, 1", "AF_INET, socket.SOCK_RAW, 255", "AF_PACKET, socket.SOCK_RAW, 0x300"]
)
def test_raw_packets_are_denied(inside, kind):
    with pytest.raises(AssertionError, match="Operation not permitted"):
        inside.exec(f"socket.socket(socket.{kind})")


def test_ping_works_without_raw_packets(inside):
    inside.exec("socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()")


def test_device_nodes_cannot_be_made_on_the_disk(engine):
    with engine.entered() as (_box, agent):
        agent.exec("import os, stat")
        with pytest.raises(AssertionError, match="Operation not permitted"):
            agent.exec("os.mknod('/disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))")


def test_a_device_node_that_is_on_the_disk_opens_nothing(engine):
    with engine.box() as box, box.agent() as agent:
        os.mknod(box.disk / "kmsg", 0o20600, os.makedev(1, 11))
        engine.driver.attach(box.running, box.disk)
        agent.ask("enter", root="/.late/root")
        with pytest.raises(AssertionError):
            agent.exec("open('/kmsg', 'rb', buffering=0).read(1)")


def test_programs_inherit_no_capabilities(inside):
    status = dict(line.split(":", 1) for line in inside.eval("open('/proc/self/status').read()").splitlines())
    assert int(status["CapInh"], 16) == 0
    assert int(status["CapBnd"], 16) & (1 << 13 | 1 << 12) == 0  # NET_RAW, NET_ADMIN


def test_the_sandbox_is_alone_with_the_agent(inside):
    assert inside.eval("[name for name in os.listdir('/proc') if name.isdigit()]") == ["1"]
    assert inside.eval("os.uname().nodename") == "sandbox"
    assert inside.eval("sorted(os.listdir('/'))") == sorted(spec.ROOT_FOLDERS)


def test_sandboxes_go_first_when_the_machine_runs_out_of_memory(engine):
    with engine.box() as box, open(f"/proc/{box.running.sandbox_pid}/oom_score_adj") as file:
        assert int(file.read()) == spec.OOM_SCORE
