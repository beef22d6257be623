"""Create, look, pause, resume, connect, destroy."""

from wrenn import Capsule
from wrenn.models import Status

capsule = Capsule()
assert capsule.capsule_id.startswith("cl-")
assert capsule.info is not None
assert capsule.info.status in (Status.starting, Status.running)
assert capsule.info.created_at is not None
assert capsule.info.created_at.tzinfo is not None
capsule.wait_ready(timeout=60)
assert capsule.is_running()
info = capsule.get_info()
assert (info.id, info.template, info.vcpus, info.memory_mb) == (capsule.capsule_id, "minimal", 1, 512)
assert info.disk_size_mb == 5120
assert info.timeout_sec == 0
assert capsule.capsule_id in [item.id for item in Capsule.list()]
capsule.ping()

# Memory survives: a shell variable's process goes on where it was.
handle = capsule.commands.run("echo $$ > /tmp/pid; exec sleep 1000", background=True, tag="keeper")
capsule.files.write("/tmp/kept", "kept")
paused = capsule.pause(wait=True)
assert paused.status == Status.paused
assert not capsule.is_running()
resumed = capsule.resume(wait=True)
assert resumed.status == Status.running
assert capsule.files.read("/tmp/kept") == "kept"
assert handle.pid in [process.pid for process in capsule.commands.list()]

# connect() right after a pause nobody waited for.
capsule.pause()
again = Capsule.connect(capsule.capsule_id)
assert again.info is not None
assert again.info.status == Status.running
assert again.commands.run("echo back").stdout == "back\n"

Capsule.destroy(capsule.capsule_id, wait=True)
assert Capsule.get_info(capsule.capsule_id).status in (Status.stopped, Status.missing)
assert capsule.capsule_id not in [item.id for item in Capsule.list()]
capsule.destroy()  # once more does no harm

with Capsule(template="minimal", vcpus=1, memory_mb=256, timeout=10, wait=True) as short:
    capsule_id = short.capsule_id
    info = short.get_info()
    assert (info.memory_mb, info.timeout_sec) == (256, 60)
    assert short.get_url(8080).startswith(f"http://8080-{capsule_id}.")
assert Capsule.get_info(capsule_id).status in (Status.stopping, Status.stopped, Status.missing)
