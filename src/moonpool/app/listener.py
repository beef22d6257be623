"""What listens: uvicorn, which by itself waits for a start to come to its end before it ends."""

from collections.abc import Callable
from types import FrameType

import uvicorn


class Listener(uvicorn.Server):
    """Calls ``give_up``, from a signal's handler, when it is told to end."""

    def __init__(self, config: uvicorn.Config, give_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._give_up = give_up

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._give_up()
        super().handle_exit(sig, frame)
