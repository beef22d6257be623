"""``moonpool serve``: the server, in the foreground."""

import gc
import resource
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moonpool.cli.client import CommandFailed
from moonpool.cli.settings import SERVING, WRONG_USE, data_lock, load_settings

HIGHEST_PORT = 65535
GRACE = 10  # seconds for open requests to end after SIGTERM
# Seconds without a request before a connection is closed. Clients that keep theirs for 5 (httpx) or 15 must be first:
# whoever sends a request at that moment is told of a broken connection.
KEEP_ALIVE = 75


class OnExit(StrEnum):
    PAUSE = "pause"
    KEEP = "keep"
    STOP = "stop"


def serve(
    listen: Annotated[str | None, typer.Option(help="ADDRESS:PORT; 127.0.0.1:8080 when nothing else is set.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for everything the server keeps.")] = None,
    on_exit: Annotated[
        OnExit | None, typer.Option(help="What happens to running sandboxes when the server stops: saved, kept, ended.")
    ] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C. MOONPOOL_API_KEY sets the first key."""
    gc.disable()  # Nothing of what is imported is ever garbage: looking for it takes a tenth of the start,
    try:
        import uvicorn

        from moonpool.app import build
        from moonpool.app.listener import Listener
        from moonpool.dialects.common.sockets import MAX_MESSAGE_BYTES
        from moonpool.headroom import return_freed_memory
    finally:
        gc.freeze()  # and would hold up requests later.
        gc.enable()

    settings = load_settings(listen=listen, data=data, on_exit=on_exit and on_exit.value)
    host, _, port = settings.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > HIGHEST_PORT:
        raise CommandFailed(f"--listen wants ADDRESS:PORT, not '{settings.listen}'", WRONG_USE)
    raise_descriptor_limit()
    return_freed_memory()
    with data_lock(settings.data, f"{SERVING}{settings.listen}"):
        application = build(settings)
        server = Listener(
            uvicorn.Config(
                application.app,
                host=host.strip("[]"),
                port=int(port),
                loop="uvloop",
                http=application.http_protocol,
                ws=application.websocket_protocol,
                interface="asgi3",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=GRACE,
                ws_max_size=MAX_MESSAGE_BYTES,
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
            ),
            application.give_up,
        )
        server.run()
        if not server.started:
            raise typer.Exit(1)


def raise_descriptor_limit() -> None:
    """As far as this machine allows: each sandbox takes three descriptors, each client one, and shells give 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
