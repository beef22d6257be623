"""What an operation that works does not do: it is then shown as *partly*. By API, then by operation."""

from collections.abc import Mapping

NOTES: Mapping[str, Mapping[str, str]] = {
    "daytona": {
        "GET /organizations": "The key's one team.",
        "GET /regions": "One region.",
        "GET /shared-regions": "One region.",
        "POST /sandbox": "No secrets, GPU, build recipes or linked sandboxes; each is refused by name.",
    },
    "toolbox": {
        "POST /process/code-run": "Charts need matplotlib in the sandbox.",
    },
    "wrenn": {},
    "freestyle": {
        "POST /v1/vms": "Domains are not verified: who maps one first has it.",
        "POST /v1/vms/snapshots": "A Dockerfile's steps are no phases of the build.",
    },
    "codesandbox": {
        "POST /org/workspace/{team_id}/tokens": (
            "For the workspace of the key that asks. Scopes to create and to edit are one."
        ),
        "POST /sandbox": (
            "Always on a VM: files for the browser are in its workspace, and nothing bundles them. "
            "External resources are refused."
        ),
    },
    "pitcher": {},
}
