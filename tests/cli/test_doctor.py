import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from moonpool.hosts.inspection import disk_limits
from tests.cli.program import PROGRAM, TIMEOUT, Cli, environment_for
from tests.servers import Server

INSPECT_AS_NOBODY = """
import os, sys
from pathlib import Path
from moonpool.cli.diagnosis import diagnose
from moonpool.hosts.settings import HostSettings
settings = HostSettings(Path(sys.argv[1]))
diagnose(settings)  # All modules are loaded by this: the interpreter's folder may be root's alone.
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for finding in diagnose(settings):
    print(finding.verdict, finding.subject, finding.text, sep="|")
"""

FILTER = "add table inet mine; add chain inet mine f { type filter hook forward priority 0; policy drop; }"


def findings(cli: Cli, *, ok: bool) -> dict[str, list[dict[str, str]]]:
    document = json.loads(cli("doctor", "--json", exit_code=0 if ok else 1).stdout)
    assert document["ok"] is ok
    by_subject: dict[str, list[dict[str, str]]] = {}
    for finding in document["findings"]:
        by_subject.setdefault(finding["subject"], []).append(finding)
    return by_subject


def test_a_fresh_machine_and_nothing_is_changed(lonely: Cli) -> None:
    found = findings(lonely, ok=True)
    for subject in ("user", "architecture", "gVisor", "btrfs", "control groups", "network", "disk", "leftovers"):
        assert found[subject][0]["verdict"] in ("ok", "note"), found[subject]
    assert not lonely.data.exists()


def test_programs_that_are_missing(lonely: Cli) -> None:
    done = lonely("doctor", exit_code=1, PATH="/nowhere")
    for program in ("gVisor", "btrfs", "mkfs.btrfs", "mmdebstrap", "nft", "zstd", "losetup"):
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{program}  "))
        assert "missing" in line
        assert "apt-get install" in line or "Install" in line


def test_filters_of_others_are_named(lonely: Cli) -> None:
    alone = ("unshare", "--net", "sh", "-ec", f"nft '{FILTER}'; exec \"$@\"", "sh")
    command = [*alone, PROGRAM, "doctor", "--json"]
    done = subprocess.run(command, env=lonely.environment, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    (found,) = (finding for finding in json.loads(done.stdout)["findings"] if finding["subject"] == "network")
    assert found["verdict"] == "note"
    assert "inet mine f drops it" in found["text"]


@pytest.mark.parametrize(
    ("release", "verdict"),
    [("6.1.0-18-amd64", "note"), ("5.15.0", "note"), ("6.7.0", "ok"), ("6.12.3+deb13", "ok"), ("7.0", "ok")],
)
def test_kernels_without_simple_quotas(release: str, verdict: str) -> None:
    finding = disk_limits(release)
    assert (finding.verdict, "6.7" in finding.hint) == (verdict, verdict == "note")


def test_another_user_than_root(server: Server) -> None:
    command = [sys.executable, "-c", INSPECT_AS_NOBODY, str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert "missing|user|not root" in done.stdout
    assert "note|leftovers|cannot be looked for" in done.stdout


def test_beside_a_server(cli: Cli, box: str) -> None:
    (finding,) = findings(cli, ok=True)["leftovers"]
    assert finding["text"].startswith("a server runs: 1 sandboxes, ")


def test_a_server_that_was_killed_and_one_that_ended(
    server_factory: Callable[..., AbstractContextManager[Server]],
) -> None:
    with server_factory(MOONPOOL_POOL_SIZE="1") as server:
        cli = Cli(environment_for(server.data, MOONPOOL_URL=server.url, MOONPOOL_API_KEY=server.api_key))
        identifier = cli("sandbox", "run").stdout.strip()
        server.kill()
        left = [finding["text"] for finding in findings(cli, ok=False)["leftovers"]]
        for kind in ("process ", "control group of ", "nftables table ", "network link ", "mount "):
            assert any(text.startswith(kind) for text in left), left
        assert "does not answer" in cli.refused("sandbox", "list")

        server.start_again()
        assert cli("sandbox", "exec", identifier, "echo alive").stdout == "alive\n"
        assert findings(cli, ok=True)["leftovers"][0]["text"].startswith("a server runs: 1 sandboxes, ")

        server.process.terminate()
        server.process.wait()
        assert findings(cli, ok=True)["leftovers"][0]["text"] == "no server runs, and nothing of one is there"
        server.start_again()
        cli("sandbox", "rm", identifier)


def test_the_data_folder_can_be_named(lonely: Cli, server: Server) -> None:
    assert "a server runs" in lonely("doctor", "--data", str(server.data)).stdout
