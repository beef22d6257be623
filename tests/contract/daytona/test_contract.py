"""Operations in the lives of a few sandboxes; each answer is compared with the document (tests/contract/record.py)."""

from typing import Any

import httpx

from moonpool.errors import EngineError
from tests.contract.daytona_documents import operations

# In the order in which they are called, with their bodies.
CALLS: list[tuple[str, object]] = [
    ("config_controller_get_config", None),
    ("health_controller_live", None),
    ("health_controller_check", None),
    ("list_available_regions", None),
    ("list_shared_regions", None),
    ("get_region_by_id", None),
    ("create_api_key", {"name": "made", "permissions": ["write:sandboxes"]}),
    ("list_api_keys", None),
    ("get_current_api_key", None),
    ("get_api_key", None),
    ("delete_api_key", None),
    ("create_api_key", {"name": "made", "permissions": []}),
    ("delete_api_key_for_user", None),
    ("get_authenticated_user", None),
    ("list_pending_sso_links", None),
    ("get_account_providers", None),
    ("record_login", None),
    ("accept_privacy_policies", None),
    ("list_organizations", None),
    ("get_organization", None),
    ("list_organization_members", None),
    ("list_organization_roles", None),
    ("list_organization_invitations", None),
    ("list_organization_identity_providers", None),
    ("list_organization_invitations_for_authenticated_user", None),
    ("get_organization_invitations_count_for_authenticated_user", None),
    ("create_volume", {"name": "made"}),
    ("list_volumes", None),
    ("get_volume_by_name", None),
    ("get_volume", None),
    ("delete_volume", None),
    ("get_all_snapshots", None),
    ("get_snapshot", None),
    ("recover_sandbox", None),
    ("delete_sandbox", None),
    ("create_sandbox", {"name": "given", "env": {"A": "b"}, "labels": {"l": "v"}}),
    ("get_sandbox", None),
    ("list_sandboxes", None),
    ("replace_labels", {"labels": {"l": "w"}}),
    ("set_autostop_interval", None),
    ("set_auto_archive_interval", None),
    ("set_auto_delete_interval", None),
    ("set_ttl", None),
    ("update_public_status", None),
    ("update_last_activity", {}),
    ("update_network_settings", {"networkBlockAll": True}),
    ("get_toolbox_proxy_url", None),
    ("get_organization_by_sandbox_id", None),
    ("resize_sandbox", {"cpu": 2}),
    ("create_sandbox_snapshot", {"name": "kept"}),
    ("deactivate_snapshot", None),
    ("activate_snapshot", None),
    ("remove_snapshot", None),
    ("fork_sandbox", {"name": "copy"}),
    ("get_sandbox_forks", None),
    ("get_sandbox_parent", None),
    ("get_sandbox_ancestors", None),
    ("pause_sandbox", None),
    ("start_sandbox", None),
    ("stop_sandbox", None),
    ("create_backup", None),
    ("archive_sandbox", None),
    ("delete_sandbox", None),
    ("create_sandbox", {"name": "given", "autoStopInterval": 0}),
    ("set_auto_pause_interval", None),
]
KEPT = dict.fromkeys(("activate_snapshot", "deactivate_snapshot", "remove_snapshot"), "kept")
PLACES = {"sandboxIdOrName": "given", "interval": "30", "ttlMinutes": "30", "isPublic": "true"}


async def test_operations_answer_as_the_document_says(client: httpx.AsyncClient, machines: Any) -> None:
    machines.failure = EngineError("It broke")
    await client.post("/api/sandbox", json={"name": "given"})
    machines.failure = None
    user = (await client.get("/api/users/me")).json()["id"]
    team = (await client.get("/api/organizations")).json()[0]["id"]
    places = {
        **PLACES,
        "userId": user,
        "organizationId": team,
        "name": "made",
        "volumeId": "made",
        "sandboxId": "given",
    }
    known = operations("api")
    for name, body in CALLS:
        operation = known[name]
        places["id"] = {"get_region_by_id": "local", **KEPT}.get(name, "daytona-small")
        places["sandboxIdOrName"] = "copy" if name in ("get_sandbox_parent", "get_sandbox_ancestors") else "given"
        path = operation.path.format(**places)
        answer = await client.request(operation.method, f"/api{path}", json=body)
        assert answer.is_success, f"{name}: {answer.text}"
