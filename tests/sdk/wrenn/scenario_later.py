"""What came with SDK 0.3.0: figures and events."""

import threading

from expectations import raised
from wrenn import Capsule, WrennClient
from wrenn.exceptions import WrennError, WrennNotFoundError

with WrennClient() as client, WrennClient() as watcher:
    connected = threading.Event()
    seen = []

    def watch():
        for event in watcher.events.stream():
            seen.append(event)
            connected.set()
            if event.event == "capsule.destroy":
                return

    thread = threading.Thread(target=watch)
    thread.start()
    assert connected.wait(30)

    with Capsule(wait=True) as capsule:
        capsule.commands.run("true")
        metrics = client.capsules.metrics(capsule.capsule_id, range="2h")
        assert metrics.range == "2h"
        point = metrics.points[-1]
        assert point.mem_bytes > 0
        assert 0 <= point.cpu_pct <= 100
        stats = client.capsules.stats()
        assert stats.current.running_count >= 1
        assert stats.current.memory_mb_reserved >= 512
        assert stats.peaks.running_count >= stats.current.running_count
        assert max(stats.series.running) >= 1
        capsule.pause(wait=True)
        kept = client.capsules.metrics(capsule.capsule_id).points
        assert kept[0].mem_bytes > 0
        capsule.resume(wait=True)
        raised(WrennError, lambda: client.capsules.metrics(capsule.capsule_id, range="nonsense"), 400)
        assert client.capsules.usage().points[-1].cpu_minutes > 0
    thread.join(30)
    assert not thread.is_alive()
    ours = [event.event for event in seen if event.resource and event.resource.id == capsule.capsule_id]
    actions = [name for name in ours if name != "capsule.state.changed"]
    assert actions == ["capsule.create", "capsule.pause", "capsule.resume", "capsule.destroy"], ours
    raised(WrennNotFoundError, lambda: client.capsules.metrics(capsule.capsule_id), 404)
