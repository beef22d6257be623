"""Templates made of capsules: what runs in them goes on in what is made from them."""

import secrets

from expectations import raised
from wrenn import Capsule, WrennClient
from wrenn.exceptions import WrennError, WrennNotFoundError

name = f"template-{secrets.token_hex(4)}"
with WrennClient() as client:
    with Capsule(wait=True) as source:
        source.files.write("/tmp/kept", "kept")
        source.commands.run("exec sleep 1000", background=True, tag="keeper")
        assert source.create_snapshot(name).name == name
        raised(WrennError, lambda: source.create_snapshot(name), 409)
        source.files.write("/tmp/kept", "newer")
        source.create_snapshot(name, overwrite=True)
    listed = {template.name: template.type.value for template in client.snapshots.list()}
    assert (listed[name], listed["minimal"]) == ("snapshot", "base")
    with Capsule(template=name, wait=True) as copy:
        assert copy.files.read("/tmp/kept") == "newer"
        assert [process.tag for process in copy.commands.list()] == ["keeper"]
        client.snapshots.delete(name)
        assert copy.commands.run("echo on").stdout == "on\n"
    raised(WrennNotFoundError, lambda: client.snapshots.delete(name), 404)
