"""A terminal in a sandbox, in the user's own terminal."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator

import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from moonpool.cli.client import CommandFailed, Target
from moonpool.cli.sockets import open_socket

CHUNK = 65536  # bytes read from the keyboard at once


def open_shell(target: Target, sandbox_id: str) -> int:
    """Runs until the remote shell ends; its exit code."""
    if not sys.stdin.isatty():
        raise CommandFailed("'shell' needs a terminal; use 'exec' in scripts.")
    return asyncio.run(_run(target, sandbox_id))


async def _run(target: Target, sandbox_id: str) -> int:
    size = _terminal_size()
    session = f"cli-{secrets.token_hex(4)}"
    path = f"/toolbox/{sandbox_id}/process/pty/create-connect?id={session}&cols={size.columns}&rows={size.lines}"
    async with open_socket(target, path) as socket:
        loop = asyncio.get_running_loop()
        resizes: set[asyncio.Task[None]] = set()

        def resized() -> None:
            task = loop.create_task(_resize(target, sandbox_id, session))
            resizes.add(task)
            task.add_done_callback(resizes.discard)

        loop.add_signal_handler(signal.SIGWINCH, resized)
        with _raw_terminal():
            keyboard = asyncio.create_task(_type(socket))
            try:
                return await _show(socket)
            finally:
                keyboard.cancel()


async def _show(socket: ClientConnection) -> int:
    try:
        async for message in socket:
            if isinstance(message, bytes):
                sys.stdout.buffer.write(message)
                sys.stdout.buffer.flush()
    except ConnectionClosed:
        pass  # A shell that ends with another code than 0 closes with 1011; the reason says which.
    try:
        return int(json.loads(socket.close_reason or "")["exitCode"])
    except (ValueError, TypeError, KeyError):
        raise CommandFailed(f"The connection was lost: {socket.close_reason or 'no reason was given'}") from None


async def _type(socket: ClientConnection) -> None:
    """Until it is cancelled; a terminal that is closed closes the connection."""
    loop = asyncio.get_running_loop()
    pressed: asyncio.Queue[bytes] = asyncio.Queue()
    loop.add_reader(sys.stdin.fileno(), lambda: pressed.put_nowait(_read_keyboard()))
    try:
        while data := await pressed.get():
            await socket.send(data)
    finally:
        loop.remove_reader(sys.stdin.fileno())
    await socket.close(reason="the terminal was closed")


def _read_keyboard() -> bytes:
    """Empty at the end."""
    try:
        return os.read(sys.stdin.fileno(), CHUNK)
    except OSError:
        return b""


def _terminal_size() -> os.terminal_size:
    """The terminal's own word: COLUMNS and LINES in the environment may be another's."""
    try:
        return os.get_terminal_size(sys.stdin.fileno())
    except OSError:
        return shutil.get_terminal_size()


async def _resize(target: Target, sandbox_id: str, session: str) -> None:
    size = _terminal_size()
    headers = {"Authorization": f"Bearer {target.api_key}"}
    async with httpx.AsyncClient(base_url=target.url, headers=headers, trust_env=False) as client:
        path = f"/toolbox/{sandbox_id}/process/pty/{session}/resize"
        with contextlib.suppress(httpx.TransportError):  # Then the terminal's own connection will say so.
            await client.post(path, json={"cols": size.columns, "rows": size.lines})


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin, termios.TCSANOW)  # What was typed already is kept.
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # It may be gone.
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
