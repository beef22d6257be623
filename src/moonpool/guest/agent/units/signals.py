"""Names of signals; the real-time ones are counted from the first."""

import re
import signal

from .syntax import BadSetting

REAL_TIME = re.compile(r"RTMIN(?:\+(\d{1,2}))?|RTMAX(?:-(\d{1,2}))?")


def number_of(text: str) -> int:
    """Of "TERM", "SIGTERM", "15" or "RTMIN+1". BadSetting."""
    name = text.removeprefix("SIG")
    if match := REAL_TIME.fullmatch(name):
        up, down = (int(group or 0) for group in match.groups())
        number = signal.SIGRTMIN + up if name.startswith("RTMIN") else signal.SIGRTMAX - down
    elif name.isdigit():
        number = int(name[:9])
    else:
        number = int(getattr(signal, f"SIG{name}", -1)) if name.isalnum() else -1
    if not 0 <= number <= signal.SIGRTMAX:
        raise BadSetting(f"not a signal: {text[:40]}")
    return number


def name_of(number: int) -> str:
    """Without its SIG."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"RTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)
