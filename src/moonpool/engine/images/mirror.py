"""Where Debian's packages come from."""

import re
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path("/etc/apt")
DEFAULT_MAIN, DEFAULT_SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"


@dataclass(frozen=True)
class Mirrors:
    main: str
    security: str

    def sources(self, suite: str) -> list[str]:
        """Lines for sources.list."""
        return [
            f"deb {self.main} {suite} main",
            f"deb {self.main} {suite}-updates main",
            f"deb {self.security} {suite}-security main",
        ]


def choose_mirrors(suite: str, wanted: str | None = None, sources: Path = SOURCES) -> Mirrors:
    """``wanted`` where given; else what this machine uses, where it runs Debian; else Debian's own."""
    host = _host_sources(sources)
    return Mirrors(
        main=(wanted or host.get(suite) or DEFAULT_MAIN).rstrip("/"),
        security=(host.get(f"{suite}-security") or DEFAULT_SECURITY).rstrip("/"),
    )


def _host_sources(folder: Path) -> dict[str, str]:
    """The first http(s) address for each suite, in either of apt's formats."""
    found: dict[str, str] = {}
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        text = path.read_text(errors="replace") if path.is_file() else ""
        for address, suites in _stanzas(text) if path.suffix == ".sources" else _lines(text):
            for suite in suites:
                if address.startswith(("http://", "https://")):
                    found.setdefault(suite, address)
    return found


def _lines(text: str) -> list[tuple[str, list[str]]]:
    matches = re.finditer(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)[^\n]*\bmain\b", text, re.MULTILINE)
    return [(match.group(1), [match.group(2)]) for match in matches]


def _stanzas(text: str) -> list[tuple[str, list[str]]]:
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):\s*(.*)$", stanza, re.MULTILINE))
        if "main" in fields.get("Components", "").split() and fields.get("Enabled", "yes") != "no":
            found += [(address, fields.get("Suites", "").split()) for address in fields.get("URIs", "").split()]
    return found
