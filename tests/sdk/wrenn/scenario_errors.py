"""What goes wrong is told in the SDK's own exceptions."""

import httpx
import httpx_ws
from expectations import raised
from wrenn import Capsule, WrennClient, exceptions

unknown = "cl-" + "x" * 20
raised(exceptions.WrennNotFoundError, lambda: Capsule.get_info(unknown), 404)
raised(exceptions.WrennNotFoundError, lambda: Capsule.destroy(unknown), 404)
raised(exceptions.WrennNotFoundError, lambda: Capsule.connect("../../etc"), 404)
raised(exceptions.WrennNotFoundError, lambda: Capsule(template="no-such-template"), 404)
raised(exceptions.WrennValidationError, lambda: Capsule(vcpus=-1), 400)
raised(exceptions.WrennValidationError, lambda: Capsule(memory_mb=0), 400)
raised(exceptions.WrennError, lambda: Capsule(memory_mb=2**62), 400)
raised(exceptions.WrennValidationError, lambda: Capsule(timeout=-5), 400)
raised(exceptions.WrennAuthenticationError, lambda: Capsule(api_key="wrn_" + "0" * 32), 401)

with WrennClient() as client:
    assert "minimal" in [item.name for item in client.snapshots.list()]
    assert all(item.type == "base" for item in client.snapshots.list(type="base"))
    raised(exceptions.WrennValidationError, lambda: client.snapshots.list(type="nonsense"), 400)

with Capsule(wait=True) as capsule:
    run = capsule.commands.run
    raised(exceptions.WrennAgentError, lambda: run("sleep 20", timeout=1), 504)
    assert run("pgrep -x sleep").exit_code == 1  # and it is gone
    raised(exceptions.WrennError, lambda: run("trap '' TERM; sleep 20", timeout=1), 504)
    raised(exceptions.WrennValidationError, lambda: run("pwd", cwd="/no/such/dir"), 400)
    raised(exceptions.WrennValidationError, lambda: run("a\0b"), 400)
    raised(exceptions.WrennValidationError, lambda: run("true", envs={"A=B": "c"}), 400)
    raised(exceptions.WrennNotFoundError, lambda: capsule.commands.kill(999_999), 404)

    capsule.pause(wait=True)
    conflict = raised(exceptions.WrennConflictError, lambda: run("true"), 409)
    assert conflict.code == "invalid_state"
    raised(exceptions.WrennConflictError, lambda: capsule.files.read("/etc/hostname"), 409)
    raised(exceptions.WrennConflictError, capsule.ping, 409)
    refused = raised(httpx_ws.WebSocketUpgradeError, lambda: list(capsule.commands.stream("true")))
    assert refused.response.status_code == 409
    capsule.resume(wait=True)
    assert run("echo fine").stdout == "fine\n"

raised(exceptions.WrennConflictError, lambda: capsule.__class__.resume(capsule.capsule_id), 409)
assert httpx.get(f"{client._base_url}/v1/nonsense").json()["error"]["code"] == "not_found"
