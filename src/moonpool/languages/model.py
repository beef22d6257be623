"""What is asked of language servers, and answered. Lines and characters count from 0; characters are UTF-16 units, as
in the Language Server Protocol."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moonpool.languages.errors import LanguageNotSupported

# In the base image. Each speaks over its standard input and output.
SERVERS: Mapping[str, tuple[str, ...]] = {
    "python": ("pylsp",),
    "typescript": ("typescript-language-server", "--stdio"),
    "javascript": ("typescript-language-server", "--stdio"),
}

# What servers are told that their clients know. Connected clients may know less: what they do not know they do not ask
# for. Nothing here makes a server wait for an answer, unless a client has it do something.
CAPABILITIES: Mapping[str, Any] = {
    "textDocument": {
        "synchronization": {"didSave": True},
        "completion": {"completionItem": {"documentationFormat": ["markdown", "plaintext"]}},
        "hover": {"contentFormat": ["markdown", "plaintext"]},
        "signatureHelp": {"signatureInformation": {"documentationFormat": ["markdown", "plaintext"]}},
        "definition": {},
        "typeDefinition": {},
        "implementation": {},
        "references": {},
        "documentHighlight": {},
        "documentSymbol": {"hierarchicalDocumentSymbolSupport": False},
        "codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["", "quickfix", "refactor"]}}},
        "formatting": {},
        "rangeFormatting": {},
        "rename": {"prepareSupport": True},
        "foldingRange": {},
        "selectionRange": {},
        "inlayHint": {},
        "publishDiagnostics": {"relatedInformation": True},
    },
    "workspace": {"symbol": {}, "applyEdit": True, "executeCommand": {}},
}


@dataclass(frozen=True)
class Project:
    """A folder of a sandbox, and the language that is asked about. ``base``: where a path began that was a relative
    one."""

    language: str
    path: str
    base: str | None = None

    @property
    def tag(self) -> str:
        """By which the server's process is found again, whoever started it."""
        return f"lsp:{self.language}:{hashlib.sha256(self.path.encode()).hexdigest()[:24]}"


@dataclass(frozen=True)
class Position:
    line: int
    character: int


@dataclass(frozen=True)
class Completions:
    """``items`` as the protocol's CompletionItem, their documentation always as MarkupContent."""

    incomplete: bool
    items: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Symbol:
    """``kind`` is the protocol's SymbolKind, ``range`` its Range."""

    name: str
    kind: int
    uri: str
    range: Mapping[str, Any]


def command_for(language: str, configured: Mapping[str, str]) -> tuple[str, ...]:
    """``configured`` are the operator's own, by language, and go first."""
    if language in configured:
        return tuple(shlex.split(configured[language]))
    if language in SERVERS:
        return SERVERS[language]
    known = ", ".join(sorted({*configured, *SERVERS}))
    raise LanguageNotSupported(f"There is no language server for '{language}'", hint=f"Known: {known}.")
