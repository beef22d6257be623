"""The official JavaScript SDKs, installed from npm's registry into projects that later runs find again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import Server

CACHE = Path(os.environ.get("MOONPOOL_TEST_CACHE") or Path.home() / ".cache" / "moonpool-tests")
PROGRAMS = Path(sys.prefix) / "bin"  # node and npm come with the test environment
INSTALL_TIMEOUT = 600  # seconds
SCRIPT_TIMEOUT = 240  # seconds


def node_project(name: str, **packages: str) -> Path:
    """A folder with exactly these versions in its ``node_modules``, made at first need and kept.

    ``node_project("csb", **{"@codesandbox/sdk": "2.4.2"})``. A folder of that name is there whole or not at all: a run
    that is cut short, or two at once, leave no half of an installation behind.
    """
    wanted = json.dumps(packages, sort_keys=True)
    folder = CACHE / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE))
    try:
        manifest = {"name": name, "private": True, "type": "module", "dependencies": packages}
        (staged / "package.json").write_text(json.dumps(manifest))
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        run(install, staged, dict(os.environ), INSTALL_TIMEOUT)
        try:
            staged.rename(folder)
        except OSError:
            if not folder.exists():  # Else another run was faster, and its folder is as good.
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def run_script(project: Path, script: Path, server: Server, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with the project's packages; a failure of any kind fails with everything that it printed.

    It finds the server in MOONPOOL_URL and MOONPOOL_API_KEY, and other scripts of its folder beside it.
    """
    # Without proxies: a server on loopback is behind none.
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    variables |= {"MOONPOOL_URL": server.url, "MOONPOOL_API_KEY": server.api_key, **env}
    # Node looks for packages beside the real file, so that one has to be in the project while it runs.
    with (
        tempfile.TemporaryDirectory(prefix=".run-", dir=project) as folder,
        tempfile.TemporaryDirectory() as temporary,  # Browsers' sockets in it need a short path.
    ):
        for file in script.parent.glob("*.mjs"):
            shutil.copy(file, folder)
        return run(["node", script.name], Path(folder), {**variables, "TMPDIR": temporary}, SCRIPT_TIMEOUT)


def run(
    command: list[str], folder: Path, variables: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """``command`` names a program of the test environment. Whatever it has started ends with it, browsers too."""
    with subprocess.Popen(
        [PROGRAMS / command[0], *command[1:]],
        cwd=folder,
        env={**variables, "PATH": f"{PROGRAMS}:{variables['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
            ended = str(process.returncode)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            ended = f"nothing after {timeout} s"
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert ended == "0", f"{command} ended with {ended}\n{output}\n{errors}"
    return subprocess.CompletedProcess(command, 0, output, errors)
