"""Transactions on nftables, in this process.

The library behind the `nft` command is called directly: a change costs a tenth of a millisecond, a spawned `nft` three
to ten. Every call is one transaction of the kernel's: all of it happens or nothing.

The library waits with `select`, which aborts the whole process where its socket has a number beyond FD_SETSIZE. So a
process with very many files open, as with a thousand clients connected, spawns the command after all.
"""

import ctypes
import ctypes.util
import json
import os
import subprocess
import threading
from typing import Any

from moonpool.engine.network.model import NetworkFailed
from moonpool.errors import MachineUnfit

LIBRARY = "libnftables.so.1"
# What the library says when the kernel finds no such element; about a table that is gone it does not ask the kernel.
NO_ELEMENT = "Could not process rule: No such file or directory"
FD_SETSIZE = 1024
ROOM = 256  # numbers that others may take between a look and the library's own socket
COMMAND_TIMEOUT = 30.0  # seconds
OUTPUT_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON in nftables/libnftables.h


class Nftables:
    """Thread-safe. Works on the network namespace of the thread that calls."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            hint = "Install nftables: apt-get install nftables"
            raise MachineUnfit(f"{LIBRARY} cannot be loaded", hint=hint) from error
        self._declare()
        self._lock = threading.Lock()

    def _declare(self) -> None:
        library = self._library
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_new.restype = ctypes.c_void_p
        for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]

    def run(self, commands: str) -> None:
        """Apply commands in nft's own language, atomically; raises NetworkFailed with nft's words."""
        self._call(commands, flags=0)

    def query(self, command: str) -> list[dict[str, Any]]:
        """Run one `list ...` command and return its objects without the leading metadata."""
        text = self._call(command, flags=OUTPUT_JSON)
        items: list[dict[str, Any]] = json.loads(text)["nftables"] if text else []
        return [item for item in items if "metainfo" not in item]

    def lacks(self, table: str, name: str, element: str) -> bool:
        """Whether the kernel says that a set of the inet family is without an element; False where the set is gone."""
        try:
            self._call(f"get element inet {table} {name} {{ {element} }}", flags=0)
        except NetworkFailed as error:
            return NO_ELEMENT in error.message
        return False

    def tables(self) -> set[tuple[str, str]]:
        """(family, name) of every table."""
        return {(item["table"]["family"], item["table"]["name"]) for item in self.query("list tables")}

    def _call(self, commands: str, *, flags: int) -> str:
        return self._in_process(commands, flags) if has_low_numbers() else spawned(commands, flags)

    def _in_process(self, commands: str, flags: int) -> str:
        # A fresh context each time: its cache of the ruleset must never outlive one call, and it belongs to one thread.
        with self._lock:
            context = self._library.nft_ctx_new(0)
            try:
                self._library.nft_ctx_buffer_output(context)
                self._library.nft_ctx_buffer_error(context)
                self._library.nft_ctx_output_set_flags(context, flags)
                failed = self._library.nft_run_cmd_from_buffer(context, commands.encode())
                if failed:
                    words = self._library.nft_ctx_get_error_buffer(context).decode(errors="replace")
                    raise refused(words)
                return str(self._library.nft_ctx_get_output_buffer(context).decode(errors="replace"))
            finally:
                self._library.nft_ctx_free(context)


def has_low_numbers() -> bool:
    """Whether what is opened next surely gets a number that `select` can take."""
    probe = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.close(probe)
    return probe < FD_SETSIZE - ROOM


def spawned(commands: str, flags: int) -> str:
    """The same by the command, whose files have numbers of their own."""
    # With -j it takes a file for JSON; changes may be too long for an argument.
    arguments, given = (["-j", commands], b"") if flags & OUTPUT_JSON else (["-f", "-"], commands.encode())
    try:
        done = subprocess.run(["nft", *arguments], input=given, capture_output=True, timeout=COMMAND_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetworkFailed(f"nft cannot be run: {type(error).__name__}") from error
    if done.returncode:
        raise refused(done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace")


def refused(words: str) -> NetworkFailed:
    return NetworkFailed(f"nftables refused a change: {words.strip()[:2000]}")
