"""A template that an administrator builds, on a real server: its capsules start from the memory of what it started."""

import time
from typing import Any

import httpx

from tests.servers import Server

RECIPE = [
    "ENV GREETING=hello",
    "USER keeper",
    "WORKDIR /home/keeper",
    'RUN echo "$GREETING from $(whoami)" > index.html',
    "START python3 -m http.server 8080",
]
PATIENCE = 120.0  # seconds


def ended(client: httpx.Client, build: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        found: dict[str, Any] = client.get(f"/v1/admin/builds/{build}").json()
        if found["status"] not in ("pending", "running") or time.monotonic() > deadline:
            return found
        time.sleep(0.1)  # The contract knows no other way to learn of a build's end.


def test_its_capsules_go_on_from_its_memory(server: Server) -> None:
    with httpx.Client(
        base_url=server.url, headers={"X-API-Key": server.api_key}, timeout=120, trust_env=False
    ) as client:
        wanted = {"name": "site", "recipe": RECIPE, "healthcheck": "--interval=1s curl -sf localhost:8080"}
        build = client.post("/v1/admin/builds", json=wanted)
        assert build.status_code == 202, build.text
        done = ended(client, build.json()["id"])
        assert done["status"] == "success", done
        assert done["logs"][3]["cmd"] == RECIPE[3]

        capsule = client.post("/v1/capsules", json={"template": "site"}).json()
        assert capsule["status"] == "running", capsule
        shell = {
            "cmd": "/bin/sh",
            "args": ["-c", "curl -s localhost:8080; whoami; sudo whoami"],
        }
        said = client.post(f"/v1/capsules/{capsule['id']}/exec", json=shell).json()
        assert said["stdout"] == "hello from keeper\nkeeper\nroot\n", said
        client.delete(f"/v1/capsules/{capsule['id']}")

        failing = {"name": "never", "recipe": ["RUN echo so far; exit 3"]}
        done = ended(client, client.post("/v1/admin/builds", json=failing).json()["id"])
        assert (done["status"], done["logs"][0]["ok"]) == ("failed", False), done
        assert done["logs"][0]["stdout"].startswith("so far\n")
        assert done["error"] == "recipe line 1: failed with exit code 3"
        ill = {
            "name": "ill",
            "recipe": ["START sleep 1000"],
            "healthcheck": "--interval=1s --timeout=1s --start-period=1s --retries=1 false",
        }
        done = ended(client, client.post("/v1/admin/builds", json=ill).json()["id"])
        assert "health check did not succeed" in done["error"], done
        assert client.delete("/v1/admin/templates/site").status_code == 204
