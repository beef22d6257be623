import pytest

from moonpool.sandboxes.model import TRANSITIONAL, TRANSITIONS, SandboxState, is_legal

S = SandboxState


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(SandboxState)


@pytest.mark.parametrize("state", [state for state in SandboxState if state is not S.DESTROYED])
def test_no_state_is_a_dead_end(state: SandboxState) -> None:
    assert is_legal(state, S.DESTROYING) or state is S.DESTROYING
    assert TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(TRANSITIONAL))
def test_every_transition_can_fail(state: SandboxState) -> None:
    assert is_legal(state, S.ERROR)


def test_only_being_made_anew_comes_after_destruction() -> None:
    assert TRANSITIONS[S.DESTROYED] == {S.STARTING}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (S.STOPPED, S.RUNNING),
        (S.PAUSED, S.RUNNING),
        (S.STOPPED, S.PAUSED),
        (S.RUNNING, S.DESTROYED),
        (S.ERROR, S.RUNNING),
    ],
)
def test_no_shortcuts(old: SandboxState, new: SandboxState) -> None:
    assert not is_legal(old, new)
