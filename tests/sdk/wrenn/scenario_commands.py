"""Commands in the foreground, in the background, streamed, and found again."""

from wrenn import Capsule
from wrenn.commands import StreamExitEvent, StreamStartEvent

with Capsule(wait=True) as capsule:
    commands = capsule.commands

    result = commands.run("echo out; echo err >&2; exit 42")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 42)
    assert commands.run("pwd; echo $HOME; whoami").stdout == "/home/wrenn-user\n/home/wrenn-user\nwrenn-user\n"
    assert commands.run("pwd", cwd="/tmp").stdout == "/tmp\n"
    special = "a b&c|d;e 'f' \"g\" $h"
    assert commands.run('printf %s "$X"', envs={"X": special}).stdout == special
    assert commands.run("echo [$X]").stdout == "[]\n"
    assert "/usr/bin" in commands.run("echo $PATH").stdout
    assert commands.run("sudo whoami").stdout == "root\n"
    assert (
        commands.run("for tool in bash git python3 node npm curl unzip; do command -v $tool || exit 9; done").exit_code
        == 0
    )
    assert commands.run("kill -9 $$").exit_code != 0
    slept = commands.run("sleep 0.3")
    assert slept.duration_ms is not None
    assert slept.duration_ms >= 300

    # Output that is not UTF-8 arrives as the SDK decodes it, text of any script as it is.
    assert commands.run(r"printf '\377\376ok'").stdout == "\ufffd\ufffdok"
    assert commands.run("echo 'grüße 你好 🌙'").stdout == "grüße 你好 🌙\n"
    assert len(commands.run("head -c 3000000 /dev/zero | tr '\\0' x").stdout) == 3_000_000
    assert commands.run("echo " + "y" * 300_000).stdout == "y" * 300_000 + "\n"

    handle = commands.run("echo one; sleep 1000", background=True, tag="first")
    assert handle.pid > 0
    assert handle.tag == "first"
    assert handle.capsule_id == capsule.capsule_id
    assert commands.run("true", background=True).tag.startswith("proc-")
    listed = {process.pid: process for process in commands.list()}
    assert listed[handle.pid].tag == "first"
    assert listed[handle.pid].cmd == "/bin/sh"
    assert listed[handle.pid].args == ["-c", "echo one; sleep 1000"]
    commands.kill(handle.pid)
    events = list(commands.connect(handle.pid))  # its end is the event to wait for
    assert events[-1].type in ("exit", "error")
    assert handle.pid not in [process.pid for process in commands.list()]

    events = list(commands.stream("for i in 1 2 3; do echo n$i; done; echo bad >&2; exit 5"))
    assert isinstance(events[0], StreamStartEvent)
    assert events[0].pid > 0
    assert "".join(event.data for event in events if event.type == "stdout") == "n1\nn2\nn3\n"
    assert "".join(event.data for event in events if event.type == "stderr") == "bad\n"
    assert isinstance(events[-1], StreamExitEvent)
    assert events[-1].exit_code == 5
    events = list(commands.stream("echo", ["two words", "$HOME"]))
    assert "".join(event.data for event in events if event.type == "stdout") == "two words $HOME\n"

    # Late readers get the output from its start.
    handle = commands.run("for i in 1 2 3; do echo tick$i; sleep 0.2; done", background=True)
    events = list(commands.connect(handle.pid))
    assert "".join(event.data for event in events if event.type == "stdout") == "tick1\ntick2\ntick3\n"
    assert events[-1].type == "exit"
    assert isinstance(list(commands.connect(handle.pid)), list)  # finished: must not raise
    assert [event.type for event in commands.connect(999_999)] == ["error"]
