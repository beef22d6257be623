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


def test_a_create_finds_another_where_what_was_ready_no_longer_answers(host: Machine) -> None:
    host.run(host.host.ready())
    for member in host.host._warm._ready:
        member.hang_up()  # As after a while without an answer; its processes live.
    sandbox = host.create()
    assert host.shell(sandbox, "echo alive") == "alive"
    host.destroy(sandbox)


def test_a_spare_one_is_woken_for_a_resume(host: Machine) -> None:
    sandbox = host.create()
    host.shell(sandbox, "echo kept > /run/kept")
    host.run(host.host.pause(sandbox.id))
    host.run(host.host.ready())
    host.run(host.host.resume(sandbox))
    assert host.shell(sandbox, "cat /run/kept") == "kept"
    host.destroy(sandbox)
