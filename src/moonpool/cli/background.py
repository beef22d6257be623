"""The server in the background: a service of systemd's where that runs the machine, else a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moonpool.cli.client import DEFAULT_ENVIRONMENT_FILE, environment_file
from moonpool.cli.settings import lock_holder

NAME = "moonpool"
UNIT = Path(f"/etc/systemd/system/{NAME}.service")
SYSTEMD = Path("/run/systemd/system")  # there where systemd is the init system, see sd_booted(3)
LOG = "server.log"
LAST_WORDS = 2000  # bytes


@dataclass(frozen=True)
class Service:
    """A server that was started: whether it lives, what it said last, how a user stops it."""

    alive: Callable[[], bool]
    last_words: Callable[[], str]
    how_to_stop: str


def start_service(data: Path, *, was_running: bool) -> Service:
    """Under systemd unless another environment file than the machine's own is in use: then it is not the machine's
    one server. Nothing is started where one was running."""
    if SYSTEMD.is_dir() and environment_file() == Path(DEFAULT_ENVIRONMENT_FILE):
        return _systemd_service(start=not was_running)
    return _plain_process(data, start=not was_running)


def program() -> str:
    """This command, as another process can start it."""
    return str(Path(sys.argv[0]).resolve())


def unit() -> str:
    """KillMode=process: only the server itself is asked to end; it sees to its sandboxes."""
    return f"""[Unit]
Description=Moonpool sandboxes
After=network-online.target
Wants=network-online.target

[Service]
EnvironmentFile={environment_file()}
ExecStart={program()} serve
KillMode=process
TimeoutStartSec=infinity
TimeoutStopSec=300
Restart=on-failure
Delegate=yes
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
"""


def _systemd_service(*, start: bool) -> Service:
    if start:
        UNIT.write_text(unit())
        _systemctl("daemon-reload")
        _systemctl("enable", "--quiet", NAME)
        _systemctl("restart", NAME)
    return Service(
        alive=lambda: subprocess.run(["systemctl", "is-active", "--quiet", NAME]).returncode == 0,
        last_words=lambda: f"See: journalctl -u {NAME}",
        how_to_stop=f"To stop the server: systemctl stop {NAME}. Its log: journalctl -u {NAME}",
    )


def _systemctl(*words: str) -> None:
    subprocess.run(["systemctl", *words], check=True)


def _plain_process(data: Path, *, start: bool) -> Service:
    log = data / LOG
    if not start:
        number = _number(lock_holder(data) or "")
        return Service(lambda: lock_holder(data) is not None, lambda: _tail(log), _how_to_stop(number, log))
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
        process = subprocess.Popen(
            [program(), "serve"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
        )
    return Service(lambda: process.poll() is None, lambda: _tail(log), _how_to_stop(str(process.pid), log))


def _how_to_stop(number: str, log: Path) -> str:
    return f"To stop the server: kill {number}. Its log: {log}"


def _number(holder: str) -> str:
    found = re.search(r"\d+", holder)
    return found[0] if found else "PID"


def _tail(log: Path) -> str:
    try:
        text = log.read_bytes()[-LAST_WORDS:].decode(errors="replace")
    except OSError:
        return ""
    return f"Its last words, from {log}:\n{text}"
