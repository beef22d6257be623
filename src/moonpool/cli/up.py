"""``moonpool up``: from an installed package to a running server with a first sandbox."""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from moonpool.cli import snippets
from moonpool.cli.client import DEFAULT_LISTEN, CommandFailed, Target, call, environment_file, find_target, open_client
from moonpool.cli.command import Command, run_command
from moonpool.cli.image import showing_progress
from moonpool.cli.settings import data_lock, load_settings

UNIT = Path("/etc/systemd/system/moonpool.service")
DEFAULT_DATA = "/var/lib/moonpool"
START_TIMEOUT = 120.0  # seconds until the warm pool is filled
console = Console(highlight=False, soft_wrap=True)


def up() -> None:
    """Build what is missing, start the server, run a first sandbox, print how to use it."""
    note_environment()
    target = find_target()
    if not healthy(target):
        from moonpool.hosts.images import build_images

        settings = load_settings()
        with showing_progress() as report, data_lock(settings.data, "builds images"):
            build_images(settings.host(), report)
        start_server(settings.data)
        wait_until_ready(target)
    milliseconds = first_sandbox(target)
    console.print(f"\nA sandbox was made and answered in [bold]{milliseconds:.0f} ms[/bold].\n")
    console.print(snippets.all_snippets(target), markup=False)


def note_environment() -> None:
    """The first key and where the server listens, for the service and for later commands; root alone may read it."""
    if environment_file().exists():
        return
    environment_file().parent.mkdir(parents=True, exist_ok=True)
    values = {
        "MOONPOOL_API_KEY": os.environ.get("MOONPOOL_API_KEY") or f"mp_{secrets.token_urlsafe(32)}",
        "MOONPOOL_LISTEN": os.environ.get("MOONPOOL_LISTEN", DEFAULT_LISTEN),
        "MOONPOOL_DATA": os.environ.get("MOONPOOL_DATA", DEFAULT_DATA),
    }
    descriptor = os.open(environment_file(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())


def healthy(target: Target) -> bool:
    try:
        return httpx.get(f"{target.url}/healthz", timeout=5.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def start_server(data: Path) -> None:
    """Under systemd where it runs, else in the background."""
    if Path("/run/systemd/system").is_dir():
        UNIT.write_text(unit())
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "enable", "--quiet", "--now", "moonpool"], check=True)
        return
    with open(data / "server.log", "ab") as log:
        subprocess.Popen(
            [sys.argv[0], "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )


def unit() -> str:
    """KillMode=process: only the server itself is asked to end; it sees to its sandboxes."""
    return f"""[Unit]
Description=Moonpool sandboxes
After=network-online.target
Wants=network-online.target

[Service]
EnvironmentFile={environment_file()}
ExecStart={Path(sys.argv[0]).resolve()} serve
KillMode=process
TimeoutStopSec=300
Restart=on-failure
Delegate=yes
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
"""


def wait_until_ready(target: Target) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with console.status("Starting"):
        while not healthy(target):
            if time.monotonic() > deadline:
                raise CommandFailed("The server did not become ready; see its log, and run 'moonpool doctor'.")
            time.sleep(0.1)  # Another process: its only sign is that it answers.


def first_sandbox(target: Target) -> float:
    """Milliseconds from nothing to the first command's answer."""
    with open_client(target) as client:
        started = time.perf_counter()
        sandbox = call(client, "POST", "/api/sandbox", json={})
        try:
            run_command(target, sandbox["id"], Command(("echo", "hi")), lambda _stream, _text: None)
            return (time.perf_counter() - started) * 1000
        finally:
            call(client, "DELETE", f"/api/sandbox/{sandbox['id']}")
