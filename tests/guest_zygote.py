"""A process that has imported the agent's modules, and nothing else, and forks one agent after the other: the imports
take a tenth of a second of a processor, a fork a hundredth of that.

    python -I -S tests/guest_zygote.py SOCKET AGENT

SOCKET as of tests/zygote.py; AGENT is the agent's folder. ``tests.guests`` asks it.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import types
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.zygote import OURS, Request, Zygote

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
LIBRARY = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Place:
    """Where an agent is: in mount, process, host name and IPC namespaces of its own, which these commands prepare one
    after the other. It is their first process, or, where that is to last whatever the agent makes of itself, the child
    of one that only waits. ``root`` is what it takes for /."""

    commands: tuple[tuple[str, ...], ...]
    is_first: bool
    root: str

    def encoded(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decoded(cls, text: str) -> "Place":
        return cls(**json.loads(text))


def begin(request: Request) -> NoReturn:
    """This process waits for the namespaces' first one. Whatever it is that ends it ends all that is in them."""
    os.closerange(OURS, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    done(LIBRARY.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    done(LIBRARY.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID))
    first = os.fork()
    if first:
        wait_for(first)
    done(LIBRARY.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    become(Place.decoded(request.program))


def become(place: Place) -> NoReturn:
    done(LIBRARY.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    done(LIBRARY.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None))
    for command in place.commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    os.chroot(place.root)
    if not place.is_first and (agent := os.fork()):
        wait_for(agent)
    gc.enable()
    importlib.import_module("guest.agent.main").main()
    os._exit(0)


def wait_for(child: int) -> NoReturn:
    """And for what else becomes this process's child."""
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(min(abs(os.waitstatus_to_exitcode(status)), 255))


def done(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def load(agent: Path) -> None:
    """As the agent's own __main__ does it."""
    guest = types.ModuleType("guest")
    guest.__path__ = [str(agent.parent), str(agent)]
    sys.modules["guest"] = guest
    importlib.import_module("guest.agent.main")


def main() -> None:
    gc.disable()
    load(Path(sys.argv[2]))
    gc.freeze()  # What is never looked at for garbage stays shared with the forks.
    interrupts = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as tests:
        request = Zygote(tests).serve()
    if request is not None:
        signal.signal(signal.SIGINT, interrupts)
        begin(request)


if __name__ == "__main__":
    main()
