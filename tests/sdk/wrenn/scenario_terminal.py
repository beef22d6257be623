"""Terminals: type, resize, leave, come back, kill."""

from wrenn import Capsule
from wrenn.pty import PtyEventType


def read_until(term, wanted):
    seen = b""
    for event in term:
        if event.type == PtyEventType.output:
            seen += event.data
            if wanted in seen:
                return seen
        assert event.type != PtyEventType.exit, seen
    raise AssertionError(seen)


def drain(term):
    seen, code = b"", None
    for event in term:
        if event.type == PtyEventType.output:
            seen += event.data
        elif event.type == PtyEventType.exit:
            code = event.exit_code
    return seen, code


with Capsule(wait=True) as capsule:
    with capsule.pty(cwd="/tmp", envs={"GREETING": "hello"}) as term:
        term.write(b"echo sum-$((6*7)) $GREETING; pwd; tty; exit 3\n")
        output, code = drain(term)
        assert b"sum-42 hello" in output
        assert b"/tmp" in output
        assert b"/dev/pts/" in output
        assert code == 3
        assert term.tag.startswith("pty-")
        assert term.pid > 0

    with capsule.pty(cmd="/bin/echo", args=["one", "two words"]) as term:
        output, code = drain(term)
        assert b"one two words" in output
        assert code == 0

    with capsule.pty(cols=100, rows=30) as term:
        term.write(b"stty size\n")
        read_until(term, b"30 100")
        term.resize(120, 40)
        term.write(b"stty size\n")
        read_until(term, b"40 120")
        term.write(b"exit\n")
        drain(term)

    # A client that goes away leaves the process as it is; its tag leads back to it, screen included.
    with capsule.pty() as term:
        term.write(b"export LEFT=be''hind; echo mar''ker\n")
        read_until(term, b"marker")
        tag = term.tag
    with capsule.pty_connect(tag) as term:
        assert b"marker" in read_until(term, b"marker")
        term.write(b"echo $LEFT-ok\n")
        read_until(term, b"behind-ok")
        assert tag in [process.tag for process in capsule.commands.list()]
        term.kill()
        output, code = drain(term)
        assert code not in (0, None)

    with capsule.pty_connect("pty-00000000") as term:
        events = list(term)
        assert [(event.type, event.fatal) for event in events] == [(PtyEventType.error, True)]
