"""One server as an application: what listens, what is at which path, what starts and ends with it."""

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import ModuleType

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics
from starlette.types import ASGIApp, Receive, Scope, Send

from moonpool import web
from moonpool.app.core import VERSION, Core, OpenHost, RunningHost
from moonpool.clock import Clock, SystemClock
from moonpool.config import Settings
from moonpool.dialects import codesandbox, freestyle, wrenn
from moonpool.dialects import registry as image_registry
from moonpool.dialects.common.auditing import Audited
from moonpool.dialects.common.figures import OperationFigures, ServerFigures, Sources
from moonpool.dialects.common.front import FrontProtocol, front
from moonpool.dialects.common.health import Health, Metrics
from moonpool.dialects.common.logs import configure_logging
from moonpool.dialects.common.observation import Observed
from moonpool.dialects.common.routing import PrefixRouter, not_found
from moonpool.dialects.common.sockets import PatientWebSocketProtocol
from moonpool.dialects.daytona import app as daytona
from moonpool.engine.images import Halt
from moonpool.errors import GivenUp
from moonpool.hosts.host import Host
from moonpool.sandboxes.shutdown import OnExit
from moonpool.store.database import Store

log = structlog.get_logger(__name__)


class Application:
    """One server, an ASGI application whose lifespan starts and stops it, to be served with the two
    protocols named here."""

    websocket_protocol = PatientWebSocketProtocol

    def __init__(self, settings: Settings, open_host: OpenHost, clock: Clock, give_up: Callable[[], None]) -> None:
        self.give_up = give_up
        """Whoever is to end the server before it has started does not wait for images that are being built. From any
        thread, at any time, without waiting; the start then fails with GivenUp."""
        self._settings = settings
        self._open_host = open_host
        self._clock = clock
        self._running = AsyncExitStack()
        self._serving: ASGIApp = not_found
        self.core: Core | None = None  # while it is started
        self.http_protocol: type[FrontProtocol] = front(lambda: None if self.core is None else self.core.gateway)

    async def start(self) -> None:
        """Everything up, or nothing: a failure takes down what was up already, and is raised."""
        async with AsyncExitStack() as stack:
            settings = self._settings
            if settings.database_url is None:
                prepare_database_file(settings.data.resolve() / "db.sqlite")
            store = await Store.open(settings.database)
            stack.push_async_callback(store.close)
            host = await self._open_host(settings.host())
            stack.push_async_callback(host.close, keep=OnExit(settings.on_exit) is OnExit.KEEP)
            core = Core(settings, store, host, self._clock)
            stack.push_async_callback(core.stop)
            await core.start()
            self._serving = serve(core, host)
            self.core = core
            self._running = stack.pop_all()
        log.info("started", listen=settings.listen)

    async def stop(self) -> None:
        self._serving, self.core = not_found, None
        await self._running.aclose()
        log.info("stopped")

    @property
    def app(self) -> ASGIApp:
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._serving(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except GivenUp as error:
            log.info("given_up")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        except Exception as error:  # The outermost edge: uvicorn is told, and ends.
            log.exception("start_failed")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def serve(core: Core, host: RunningHost) -> ASGIApp:
    """The one listener's application: every API at its prefixes, and what stands beside them."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # When a label was first seen tells nobody anything.
    registry = CollectorRegistry()
    core.lifecycle.flights.observe(OperationFigures(registry).note)
    sources = Sources(host, core.records, core.events, core.metrics, VERSION)
    figures = ServerFigures(sources, registry)
    core.gateway.count_in(registry)
    applications: dict[str, ASGIApp] = {
        "/healthz": Health(host.readiness),
        "/metrics": Metrics(core.access, registry, figures),
    }
    dialects: dict[str, ModuleType] = {
        "daytona": daytona,
        "wrenn": wrenn,
        "freestyle": freestyle,
        "codesandbox": codesandbox,
        "registry": image_registry,
    }
    for name, dialect in dialects.items():
        application = Audited(dialect.create_app(core.services), name, core.audit, core.clock)
        applications.update(dict.fromkeys(dialect.PREFIXES, application))
    pages = Audited(web.create_app(core.services), "web", core.audit, core.clock)
    applications.update(dict.fromkeys(web.PREFIXES if core.has_pages else web.ALWAYS, pages))
    return Observed(PrefixRouter(applications), registry, {prefix.split("/")[1] for prefix in applications})


def prepare_database_file(path: Path) -> None:
    """Readable by its owner alone, whatever the umask: it holds users' environments."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def build(settings: Settings, *, open_host: OpenHost | None = None, clock: Clock | None = None) -> Application:
    """A server that is not started yet. Nothing is opened or written before its start."""
    configure_logging(settings.log_format, settings.log_level)
    halt = Halt()
    return Application(settings, open_host or partial(Host.open, halt=halt), clock or SystemClock(), halt.call)
