"""What servers were told of files. A file is read anew before each question about it, since commands in the sandbox
change files too; so a server always answers about what is there."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote

from moonpool.errors import InvalidInput
from moonpool.languages.conversation import Conversation
from moonpool.processes.model import checked_text

SERVERS_KEPT = 1000  # whose documents are remembered; forgetting costs a file's opening again
SCHEME = "file://"
# The protocol's names for files whose ending says more than the server's language.
LANGUAGES = {".tsx": "typescriptreact", ".jsx": "javascriptreact", ".ts": "typescript", ".js": "javascript"}


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


@dataclass
class Document:
    version: int
    digest: bytes


@dataclass
class Documents:
    """Those that one server has open."""

    open: dict[str, Document] = field(default_factory=dict)

    async def tell(self, conversation: Conversation, path: str, language: str, text: str) -> None:
        """That this file is so now; nothing, when the server knows."""
        digest, known = hashlib.sha256(text.encode()).digest(), self.open.get(path)
        if known is None:
            kind = LANGUAGES.get(PurePosixPath(path).suffix, language)
            document = {"uri": uri_of(path), "languageId": kind, "version": 1, "text": text}
            await conversation.notify("textDocument/didOpen", {"textDocument": document})
            self.open[path] = Document(1, digest)
        elif known.digest != digest:
            known.version, known.digest = known.version + 1, digest
            document = {"uri": uri_of(path), "version": known.version}
            change = {"textDocument": document, "contentChanges": [{"text": text}]}
            await conversation.notify("textDocument/didChange", change)

    async def close(self, conversation: Conversation, path: str) -> None:
        if self.open.pop(path, None) is not None:
            await conversation.notify("textDocument/didClose", {"textDocument": {"uri": uri_of(path)}})


class Shelf:
    """The documents of every server, by sandbox and tag; the longest unused are forgotten."""

    def __init__(self) -> None:
        self._all: OrderedDict[tuple[str, str], Documents] = OrderedDict()

    def of(self, sandbox: str, tag: str) -> Documents:
        documents = self._all.setdefault((sandbox, tag), Documents())
        self._all.move_to_end((sandbox, tag))
        while len(self._all) > SERVERS_KEPT:
            self._all.popitem(last=False)
        return documents

    def forget(self, sandbox: str, tag: str) -> None:
        self._all.pop((sandbox, tag), None)
