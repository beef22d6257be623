"""What requests are called in the audit log."""

import pytest

from moonpool.dialects.common.deeds import act_of


@pytest.mark.parametrize(
    ("method", "path", "parameters", "expected"),
    [
        ("POST", "/api/sandbox", {}, ("create", "sandbox", None)),
        ("POST", "/api/sandbox/abc/start", {"sandbox": "abc"}, ("start", "sandbox", "abc")),
        ("DELETE", "/api/sandbox/abc", {"sandbox": "abc"}, ("delete", "sandbox", "abc")),
        ("PUT", "/api/sandbox/abc/labels", {"sandbox": "abc"}, ("update_labels", "sandbox", "abc")),
        ("POST", "/api/sandbox/abc/ssh-access", {"sandbox": "abc"}, ("create_ssh_access", "sandbox", "abc")),
        ("POST", "/api/sandbox/abc/autostop/5", {"sandbox": "abc", "interval": 5}, ("autostop", "sandbox", "abc")),
        ("POST", "/api/snapshots/s/activate", {"snapshot": "s"}, ("activate", "snapshot", "s")),
        ("DELETE", "/api/api-keys/ci", {"name": "ci"}, ("delete", "api_key", "ci")),
        ("POST", "/api/organizations/o/invitations", {"organization": "o"}, ("create", "invitation", None)),
        ("DELETE", "/api/organizations/o/users/u", {"organization": "o", "user": "u"}, ("delete", "user", "u")),
        ("POST", "/v1/capsules/cl-1/pause", {"id": "cl-1"}, ("pause", "sandbox", "cl-1")),
        ("PUT", "/v1/channels/c/config", {"id": "c"}, ("update_config", "channel", "c")),
        ("POST", "/v1/auth/login", {}, ("login", "login", None)),
        ("PATCH", "/v1/vms/snapshots/s", {"snapshot_id": "s"}, ("update", "snapshot", "s")),
        ("POST", "/v1/vms/v/fork", {"vm_id": "v"}, ("fork", "sandbox", "v")),
        ("DELETE", "/vm/v", {"id": "v"}, ("delete", "sandbox", "v")),
        ("POST", "/org/workspace/w/tokens", {"team_id": "w"}, ("create", "token", None)),
        ("GET", "/api/sandbox", {}, ("read", "sandbox", None)),
    ],
)
def test_names(method: str, path: str, parameters: dict[str, object], expected: tuple[str, str, str | None]) -> None:
    act = act_of(method, path, parameters)
    assert (act.action, act.target_type, act.target_id) == expected
    assert not act.inside


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/toolbox/abc/process/execute", {"sandbox": "abc"}),
        ("/v1/capsules/cl-1/exec", {"id": "cl-1"}),
        ("/v1/capsules/cl-1/files/write", {"id": "cl-1"}),
        ("/v1/vms/v/exec-await", {"vm_id": "v"}),
    ],
)
def test_what_goes_on_inside_is_told_apart(path: str, parameters: dict[str, object]) -> None:
    assert act_of("POST", path, parameters).inside


def test_the_rest_of_a_path_is_detail() -> None:
    assert act_of("POST", "/api/sandbox/a/autostop/5", {"s": "a", "i": 5}).details == {"autostop": "5"}
