"""What ``systemctl`` and ``journalctl`` print, on its way to who called them."""

import asyncio
import json
import socket
from collections.abc import Mapping

EXIT, OUTPUT, ERRORS = 0, 1, 2
CANDIDATE, SEARCH, CAUGHT_UP = 3, 4, 5  # for the caller to search: see ``search``


class Usage(Exception):
    """The arguments cannot be understood."""


class Console:
    def __init__(self, caller: socket.socket, *, privileged: bool) -> None:
        self.privileged = privileged
        self._caller = caller
        self._waiting: list[bytes] = []

    def print(self, text: str = "") -> None:
        self._put(OUTPUT, text)

    def complain(self, text: str) -> None:
        self._put(ERRORS, text)

    def search(self, rule: Mapping[str, object]) -> None:
        """Have the caller look for its own pattern in what ``offer`` gives it: one may take for ever to match, and
        this process has others to serve."""
        self._send(SEARCH, json.dumps(rule).encode())

    def offer(self, searched: str, text: str) -> None:
        """A line that is printed if the pattern is found in ``searched``."""
        about = searched.encode(errors="surrogateescape")
        self._send(CANDIDATE, len(about).to_bytes(4, "big") + about + f"{text}\n".encode(errors="surrogateescape"))

    def caught_up(self) -> None:
        """All lines that there were have been offered."""
        self._send(CAUGHT_UP, b"")

    def _put(self, kind: int, text: str) -> None:
        self._send(kind, f"{text}\n".encode(errors="surrogateescape"))

    def _send(self, kind: int, data: bytes) -> None:
        self._waiting.append(bytes([kind]) + len(data).to_bytes(4, "big") + data)

    async def flush(self) -> None:
        """Send what was printed; waits for a slow reader."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            await asyncio.get_running_loop().sock_sendall(self._caller, b"".join(waiting))

    async def end(self, code: int) -> None:
        await self.flush()
        text = str(code).encode()
        message = bytes([EXIT]) + len(text).to_bytes(4, "big") + text
        await asyncio.get_running_loop().sock_sendall(self._caller, message)


class Arguments:
    """Words of a command line, told apart: ``options`` by their long names, and the rest. Usage for an option that is
    not among ``known``, and for one that is ``refused``."""

    def __init__(
        self,
        words: list[str],
        aliases: dict[str, str],
        with_value: frozenset[str],
        known: frozenset[str],
        refused: frozenset[str],
    ) -> None:
        self.options: dict[str, list[str]] = {}
        self.rest: list[str] = []
        self._aliases, self._with_value, self._known, self._refused = aliases, with_value, known, refused
        remaining = list(words)
        while remaining:
            word = remaining.pop(0)
            if word == "--":
                self.rest += remaining
                break
            if word.startswith("--"):
                self._long(word, remaining)
            elif word.startswith("-") and len(word) > 1:
                self._short(word[1:], remaining)
            else:
                self.rest.append(word)

    def _long(self, word: str, remaining: list[str]) -> None:
        name, sign, value = word[2:].partition("=")
        self._check(name)
        if name in self._with_value and not sign:
            if not remaining:
                raise Usage(f"option '--{name}' requires an argument")
            value = remaining.pop(0)
        self.options.setdefault(name, []).append(value)

    def _short(self, letters: str, remaining: list[str]) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            name = self._aliases.get(letter)
            if name is None:
                raise Usage(f"invalid option -- '{letter}'")
            self._check(name)
            if name in self._with_value:
                value, letters = letters or (remaining.pop(0) if remaining else ""), ""
                self.options.setdefault(name, []).append(value)
                return
            self.options.setdefault(name, []).append("")

    def _check(self, name: str) -> None:
        if name in self._refused:
            raise Usage(f"option '--{name}' is not supported in a sandbox")
        if name not in self._known:
            raise Usage(f"unrecognized option '--{name[:100]}'")

    def has(self, name: str) -> bool:
        return name in self.options

    def value(self, name: str, default: str = "") -> str:
        return self.options[name][-1] if name in self.options else default

    def values(self, name: str) -> list[str]:
        """All of it, cut at commas."""
        return [part for value in self.options.get(name, []) for part in value.split(",") if part]
