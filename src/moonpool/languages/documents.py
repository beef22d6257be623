"""What servers were told of files. A file is looked at before each question about it, and read where it was touched,
since commands in the sandbox change files too; so a server always answers about what is there. A file that a connected
client has open is what that client says it is, until it closes it."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from moonpool.errors import InvalidInput
from moonpool.guest.model import FileInfo
from moonpool.processes.model import checked_text

SCHEME = "file://"
# The protocol's names for files whose ending says more than the server's language.
LANGUAGES = {".tsx": "typescriptreact", ".jsx": "javascriptreact", ".ts": "typescript", ".js": "javascript"}

Stamp = tuple[float, float, int]
Notify = Callable[[str, Mapping[str, Any]], Awaitable[None]]


def paths_of(uri: str, *folders: str) -> tuple[str, ...]:
    """Where a file may be that a client named: a relative address may begin at each of the folders."""
    return tuple(dict.fromkeys(path_of(uri, folder) for folder in folders))


def path_of(uri: str, folder: str) -> str:
    """An address that a client gave, as a path; a relative one begins at the folder."""
    text = checked_text(uri, "uri")
    path = unquote(text.removeprefix(SCHEME)) if text.startswith(SCHEME) else text
    if not path:
        raise InvalidInput("uri must name a file", field="uri")
    return str(PurePosixPath(folder) / path)


def uri_of(path: str) -> str:
    return PurePosixPath(path).as_uri()


def stamp_of(info: FileInfo) -> Stamp | None:
    """What changes with every change of the file; None where its agent does not tell."""
    return (info.changed_at, info.modified_at, info.size) if info.changed_at else None


@dataclass
class Document:
    """``uri`` is by what it was opened; ``holders`` are the connected clients that have it open, ``asked_for`` whether
    others have; ``stamp`` is the file's when its content was told."""

    uri: str
    version: int
    digest: bytes
    stamp: Stamp | None = None
    holders: set[str] = field(default_factory=set)
    asked_for: bool = False


@dataclass
class Documents:
    """Those that one server has open, by path, or by address where that is no file's."""

    open: dict[str, Document] = field(default_factory=dict)

    def knows(self, path: str, stamp: Stamp | None) -> bool:
        """Whether nothing has to be told of this file, which is asked about now."""
        known = self.open.get(path)
        if known is None or not (known.holders or (stamp is not None and known.stamp == stamp)):
            return False
        known.asked_for = True
        return True

    def asked(self, path: str) -> "Document | None":
        """The document, where a question about it can be asked at once: if a client holds it, or if the file is as its
        ``stamp`` says."""
        known = self.open.get(path)
        if known is None or not (known.holders or known.stamp):
            return None
        known.asked_for = True
        return known

    async def tell(self, notify: Notify, path: str, language: str, text: str, stamp: Stamp | None) -> None:
        """That this file is so now; nothing, when the server knows, or a connected client says what is in it."""
        known = self.open.get(path)
        if known is None:
            kind = LANGUAGES.get(PurePosixPath(path).suffix, language)
            known = await self._begin(notify, path, uri_of(path), kind, text)
        elif not known.holders and known.digest != digest_of(text):
            await self._change(notify, known, text)
        known.asked_for = True
        known.stamp = None if known.holders else stamp

    async def close(self, notify: Notify, path: str) -> None:
        if (known := self.open.get(path)) is None:
            return
        known.asked_for = False
        if not known.holders:
            await self._end(notify, path)

    async def hold(self, notify: Notify, path: str, holder: str, item: Mapping[str, Any]) -> None:
        """``item`` is a TextDocumentItem: what its holder opens counts for everybody."""
        known, text = self.open.get(path), str(item["text"])
        if known is None:
            known = await self._begin(notify, path, str(item["uri"]), str(item["languageId"]), text)
        else:
            await self._change(notify, known, text)
        known.holders.add(holder)

    async def change(self, notify: Notify, path: str, holder: str, changes: list[Mapping[str, Any]]) -> None:
        """As the protocol has it, but for the version. Changes of a document that is not held are none."""
        known = self.open.get(path)
        if known is not None and holder in known.holders:
            known.digest, known.stamp = b"", None
            await self._say_changed(notify, known, changes)

    async def let_go(self, notify: Notify, path: str, holder: str) -> None:
        known = self.open.get(path)
        if known is None or holder not in known.holders:
            return
        known.holders.discard(holder)
        known.digest, known.stamp = b"", None  # Whoever asks next has the file read.
        if not known.holders and not known.asked_for:
            await self._end(notify, path)

    def held_by(self, holder: str) -> list[str]:
        return [path for path, document in self.open.items() if holder in document.holders]

    async def _begin(self, notify: Notify, path: str, uri: str, language: str, text: str) -> Document:
        self.open[path] = known = Document(uri, 1, digest_of(text))
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        await notify("textDocument/didOpen", {"textDocument": document})
        return known

    async def _change(self, notify: Notify, known: Document, text: str) -> None:
        known.digest, known.stamp = digest_of(text), None
        await self._say_changed(notify, known, [{"text": text}])

    async def _say_changed(self, notify: Notify, known: Document, changes: list[Mapping[str, Any]]) -> None:
        known.version += 1
        document = {"uri": known.uri, "version": known.version}
        await notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})

    async def _end(self, notify: Notify, path: str) -> None:
        document = self.open.pop(path)
        await notify("textDocument/didClose", {"textDocument": {"uri": document.uri}})


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
