"""What a command loads is most of the time that it takes."""

import subprocess
import sys

LOADED = "import sys, moonpool.config, moonpool.access.service; print(*sys.modules)"
COMMANDS = "import sys, moonpool.cli.main; print(*sys.modules)"
SERVERS = {"fastapi", "pyroute2", "moonpool.engine", "moonpool.guest", "moonpool.sandboxes"}


def loaded(program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_commands_on_the_database_do_without_the_server() -> None:
    assert loaded(LOADED) & SERVERS == set()


def test_other_commands_do_without_the_database_and_an_event_loop() -> None:
    assert loaded(COMMANDS) & {*SERVERS, "sqlalchemy", "asyncio"} == set()
