"""One format for everything that is logged, libraries included, and no secrets in it."""

import logging
import re
import sys
from typing import Any, Protocol

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

QUIET = (
    "uvicorn.access",
    "uvicorn.error",  # Its notes on WebSockets name addresses whole, and queries may hold tokens.
    "websockets",
    "asyncio",
    "engineio",
    "socketio",
    "alembic",
    "httpx",
)
MASK = "***"
SECRETS = re.compile(
    r"""(?ix)
      (?<![a-z0-9]) (?P<key> mp_ ) [a-z0-9_-]{8,}                                             # our own API keys
    | (?P<scheme> \b(?: bearer | basic ) \s+ ) [a-z0-9._~+/=-]{6,}                            # an Authorization header
    | (?P<url> \b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]* : ) [^\s/@]+ (?=@)                      # a password in an address
    | (?P<query> [?&][a-z0-9_.-]*(?: token | key | secret | password | signature )= ) [^\s&"'\\]+
    """
)


class Render(Protocol):
    def __call__(self, logger: Any, name: str, event_dict: EventDict) -> str | bytes: ...


def configure_logging(form: str, level: str) -> None:
    """``form`` is "console" or "json"; ``level`` a level's name. Lines go to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=shared, processors=last_steps(form)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def last_steps(form: str) -> list[Processor]:
    """From an event to its line. Traces are plain text: others print local variables, a request's key among them."""
    if form == "json":
        steps: list[Processor] = [structlog.processors.format_exc_info, masked(structlog.processors.JSONRenderer())]
    else:
        plain = structlog.dev.plain_traceback
        steps = [masked(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))]
    return [ProcessorFormatter.remove_processors_meta, *steps]


def masked(render: Render) -> Processor:
    """The renderer, with what looks like a secret taken out of its lines: the last net below everything else."""

    def without_secrets(logger: Any, name: str, event: EventDict) -> str:
        return mask(str(render(logger, name, event)))

    return without_secrets


def mask(text: str) -> str:
    """The text, with keys, passwords and tokens replaced by three stars."""
    return SECRETS.sub(lambda found: f"{found[str(found.lastgroup)]}{MASK}", text)
