"""``moonpool up``: from an installed package to a running server with a first sandbox."""

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from moonpool.cli import snippets
from moonpool.cli.background import Service, program, start_service
from moonpool.cli.client import (
    DEFAULT_LISTEN,
    CommandFailed,
    Target,
    call,
    environment_file,
    find_target,
    noted_environment,
    open_client,
    sandbox_path,
)
from moonpool.cli.image import showing_progress
from moonpool.cli.settings import SERVING, data_lock, load_settings, lock_holder

if TYPE_CHECKING:
    from moonpool.config import Settings

DEFAULT_DATA = "/var/lib/moonpool"
START_TIMEOUT = 180.0  # seconds until the warm pool is filled
LOOK_EVERY = 0.1  # seconds
NOT_FOR_THE_SERVER = {"MOONPOOL_URL", "MOONPOOL_ENVIRONMENT_FILE"}
console = Console(highlight=False, soft_wrap=True)


def up() -> None:
    """Build what is missing, start the server, run a first sandbox, print how to use it.

    MOONPOOL_* variables that are set now are noted in /etc/moonpool/environment for the server and for later commands.
    """
    changed = note_environment()
    target, settings = find_target(), load_settings()
    was_running = serves(settings)
    if not was_running:
        build(settings)
    service = start_service(settings.data, was_running=was_running)
    wait_until_ready(target, service)
    milliseconds = first_sandbox(target)
    console.print(f"\nA sandbox was made and answered in [bold]{milliseconds:.0f} ms[/bold].\n")
    console.print(f"Address  {target.url}\nKey      {target.api_key}\n", markup=False)
    console.print(snippets.all_snippets(target), markup=False)
    console.print(f"On the command line: {program()} sandbox run 'echo hi'\n{service.how_to_stop}", markup=False)
    if was_running and changed:
        console.print("The settings have changed: stop the server and run this again for them to take effect.")


def note_environment() -> bool:
    """Write what the server is to know next time, readable by root alone; whether that is something new."""
    noted = noted_environment()
    given = {name: value for name, value in os.environ.items() if name.startswith("MOONPOOL_") and value}
    values = {"MOONPOOL_LISTEN": DEFAULT_LISTEN, "MOONPOOL_DATA": DEFAULT_DATA, **noted, **given}
    values = {name: value for name, value in values.items() if name not in NOT_FOR_THE_SERVER}
    values.setdefault("MOONPOOL_API_KEY", f"mp_{secrets.token_urlsafe(32)}")
    values["MOONPOOL_DATA"] = str(Path(values["MOONPOOL_DATA"]).absolute())
    if values == noted:
        return False
    file = environment_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as lines:
        lines.writelines(f"{name}={value}\n" for name, value in sorted(values.items()))
    unfinished.replace(file)
    return True


def serves(settings: "Settings") -> bool:
    """Whether a server holds the data folder, ready or not."""
    return SERVING in (lock_holder(settings.data) or "")


def build(settings: "Settings") -> None:
    from moonpool.hosts.images import build_images

    with showing_progress() as report, data_lock(settings.data, "builds images"):
        build_images(settings.host(), report)


def wait_until_ready(target: Target, service: Service) -> None:
    """Another process: its only sign is that it answers. Raises CommandFailed when it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT
    with console.status("Starting"):
        while not healthy(target):
            if not service.alive():
                raise CommandFailed(f"The server ended while starting. {service.last_words()}")
            if time.monotonic() > deadline:
                raise CommandFailed(f"The server does not become ready. {service.last_words()}")
            time.sleep(LOOK_EVERY)


def healthy(target: Target) -> bool:
    try:
        return httpx.get(f"{target.url}/healthz", timeout=5.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def first_sandbox(target: Target) -> float:
    """Milliseconds from nothing to the first command's answer."""
    with open_client(target) as client:
        started = time.perf_counter()
        sandbox = call(client, "POST", "/api/sandbox", json={})
        try:
            call(client, "POST", f"/toolbox/{sandbox['id']}/process/execute", json={"command": "echo hi"})
            return (time.perf_counter() - started) * 1000
        finally:
            call(client, "DELETE", sandbox_path(sandbox["id"]))
