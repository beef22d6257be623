"""What a host keeps ready for creates and resumes."""

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.instance import Instance
from tests.engine.hosts.test_copies import Machine


def test_what_is_kept_ready_takes_no_processor(host: Machine) -> None:
    cgroups = Cgroups.open(Instance(host.data))
    host.run(host.host.ready())
    ready = cgroups.names()
    assert len(ready) >= 2  # a warm member and a spare one without memory
    assert {name: cgroups.frozen(name) for name in ready} == dict.fromkeys(ready, True)


def test_a_spare_one_is_woken_for_a_resume(host: Machine) -> None:
    sandbox = host.create()
    host.shell(sandbox, "echo kept > /run/kept")
    host.run(host.host.pause(sandbox.id))
    host.run(host.host.ready())
    host.run(host.host.resume(sandbox))
    assert host.shell(sandbox, "cat /run/kept") == "kept"
    host.destroy(sandbox)
