"""What the vendor's clients compare with, and so must be said in its words."""

from moonpool.dialects.daytona.errors import sentence
from moonpool.errors import TransitionInProgress


def test_a_change_under_way() -> None:
    told = sentence(TransitionInProgress("Sandbox state change in progress (pause)"))
    assert told.startswith("State change in progress: Sandbox state change in progress (pause). ")
