"""How ``journalctl`` shows a line: the forms of ``-o``, and the fields that a line has."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from .console import Usage
from .journal import MANAGER, Line

Form = Callable[[Line], str]
ALWAYS = ("__CURSOR", "__REALTIME_TIMESTAMP")  # shown whatever fields are asked for


@dataclass(frozen=True)
class Manner:
    """``fields``: which ones are shown by the forms that name them; none stands for all."""

    utc: bool = False
    host: bool = True
    fields: tuple[str, ...] = ()

    def moment(self, line: Line) -> datetime:
        moment = datetime.fromtimestamp(line.time / 1e6, UTC)
        return moment if self.utc else moment.astimezone()

    def shown(self, line: Line) -> dict[str, str]:
        found = fields(line)
        return {name: found[name] for name in found if not self.fields or name in (*self.fields, *ALWAYS)}


def fields(line: Line) -> dict[str, str]:
    own = line.pid == 1 and line.identifier == MANAGER
    found = {
        "__CURSOR": f"t={line.time:x}",
        "__REALTIME_TIMESTAMP": str(line.time),
        "_TRANSPORT": "journal" if own else "stdout",
        "PRIORITY": str(line.priority),
        "SYSLOG_IDENTIFIER": line.identifier,
        "_PID": str(line.pid),
        "_HOSTNAME": os.uname().nodename,
        "UNIT" if own else "_SYSTEMD_UNIT": line.unit,
        "MESSAGE": line.message,
    }
    if line.invocation:
        found["INVOCATION_ID" if own else "_SYSTEMD_INVOCATION_ID"] = line.invocation
    return found


def form(name: str, manner: Manner) -> Form:
    """Raises Usage for a name that is none."""
    if name in STAMPS:
        return _stamped(STAMPS[name], manner)
    if name not in MAKERS:
        raise Usage(f"Unknown output format '{name[:100]}'.")
    maker = MAKERS[name]
    return lambda line: maker(line, manner)


def _stamped(stamp: Callable[[datetime], str], manner: Manner) -> Form:
    def shown(line: Line) -> str:
        host = f" {os.uname().nodename}" if manner.host else ""
        pid = f"[{line.pid}]" if line.pid else ""
        return f"{stamp(manner.moment(line))}{host} {line.identifier}{pid}: {line.message}"

    return shown


def _verbose(line: Line, manner: Manner) -> str:
    moment = manner.moment(line)
    head = f"{moment:%a %Y-%m-%d %H:%M:%S.%f %Z} [t={line.time:x}]"
    return "\n".join([head, *(f"    {name}={value}" for name, value in manner.shown(line).items() if name[:2] != "__")])


def _cat(line: Line, manner: Manner) -> str:
    if not manner.fields:
        return line.message
    found = fields(line)
    return "\n".join(found[name] for name in manner.fields if name in found)


STAMPS: dict[str, Callable[[datetime], str]] = {
    "short": lambda moment: f"{moment:%b %d %H:%M:%S}",
    "short-full": lambda moment: f"{moment:%a %Y-%m-%d %H:%M:%S %Z}",
    "with-unit": lambda moment: f"{moment:%a %Y-%m-%d %H:%M:%S %Z}",
    "short-precise": lambda moment: f"{moment:%b %d %H:%M:%S.%f}",
    "short-iso": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S%z}",
    "short-iso-precise": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S.%f%z}",
    "short-unix": lambda moment: f"{moment.timestamp():.6f}",
}
MAKERS: dict[str, Callable[[Line, Manner], str]] = {
    "cat": _cat,
    "verbose": _verbose,
    "json": lambda line, manner: json.dumps(manner.shown(line)),
    "json-pretty": lambda line, manner: json.dumps(manner.shown(line), indent=8),
    "json-sse": lambda line, manner: f"data: {json.dumps(manner.shown(line))}\n",
    "export": lambda line, manner: "".join(f"{name}={value}\n" for name, value in manner.shown(line).items()),
}
