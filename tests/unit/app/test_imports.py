"""What a command loads is most of the time that it takes."""

import subprocess
import sys

LOADED = "import sys, moonpool.config, moonpool.access.service; print(*sys.modules)"
SERVERS = {"fastapi", "pyroute2", "moonpool.engine", "moonpool.guest", "moonpool.sandboxes"}


def test_commands_on_the_database_do_without_the_server() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) & SERVERS == set()
