"""Memory blown inside, told apart from a sentry that was killed."""

import os
import signal

from moonpool.engine.cgroups import DeathReason, Limits, death_reason

LIMITS = Limits(cpu=2, memory_bytes=96 << 20, pids=256)
HOG = "hoard = []\nwhile True: hoard.append(bytearray(b'x') * (1 << 20))"


def test_a_hog_inside_ends_the_sandbox_as_out_of_memory(engine):
    with engine.entered(limits=LIMITS) as (box, agent):
        before = engine.cgroups.stats(box.name)
        with box.exit_awaited():
            agent.send("exec", code=HOG)
        assert death_reason(before, engine.cgroups.stats(box.name)) is DeathReason.OUT_OF_MEMORY
        agent.abandon()


def test_a_killed_sentry_is_a_crash(engine):
    with engine.entered(limits=LIMITS) as (box, agent):
        before = engine.cgroups.stats(box.name)
        with box.exit_awaited():
            os.kill(box.running.sandbox_pid, signal.SIGKILL)
        assert death_reason(before, engine.cgroups.stats(box.name)) is DeathReason.CRASHED
        assert death_reason(None, engine.cgroups.stats(box.name)) is DeathReason.CRASHED
        agent.abandon()


def test_within_the_limit_memory_is_had(engine):
    with engine.entered(limits=LIMITS) as (box, agent):
        agent.exec(f"hoard = bytearray(b'x') * {LIMITS.memory_bytes * 8 // 10}")
        assert agent.ask("identity")
        assert engine.cgroups.stats(box.name).memory_bytes > LIMITS.memory_bytes * 8 // 10


def test_limits_change_while_it_runs(engine):
    with engine.entered(limits=LIMITS) as (box, agent):
        engine.cgroups.set_limits(box.name, Limits(cpu=1, memory_bytes=512 << 20, pids=256))
        agent.exec(f"hoard = bytearray(b'x') * {2 * LIMITS.memory_bytes}")
        assert agent.ask("identity")
