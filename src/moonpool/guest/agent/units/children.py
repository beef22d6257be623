"""Processes that the service manager waits for."""

import asyncio


class Child:
    """A process that was started, or one that was found; ``ended`` gives the status that waitpid gave."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    def exited(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)
