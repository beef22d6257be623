"""The smallest agent for tests of the engine: one JSON line in, one out, over TCP. No part of the product."""

import asyncio
import ctypes
import json
import os

PORT = 49983
MS_BIND, MS_REC = 4096, 16384
IDENTITY = os.urandom(8).hex()  # the same across checkpoint and restore: proof that the memory came back
SCOPE: dict[str, object] = {}


def enter(root: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("proc", "dev", "sys", ".agent"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
        if libc.mount(f"/{name}".encode(), f"{root}/{name}".encode(), None, MS_BIND | MS_REC, None):
            raise OSError(ctypes.get_errno(), f"bind {name}")
    os.chroot(root)
    os.chdir("/")


def answer(request: dict[str, str]) -> object:
    match request["op"]:
        case "identity":
            return IDENTITY
        case "secret":
            return os.environ.get("MOONPOOL_AGENT_SECRET")
        case "enter":
            return enter(request["root"])
        case "eval":
            return eval(request["code"], SCOPE)
        case "exec":
            return exec(request["code"], SCOPE)
    raise ValueError(request["op"])


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        try:
            reply = {"value": answer(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - told to the test
            reply = {"error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)
    await server.serve_forever()


asyncio.run(main())
