"""Use cases of language servers."""

import asyncio
import contextlib
import json
import posixpath
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from moonpool.access.model import Principal
from moonpool.errors import CommandNotFound, FileNotFound, InvalidInput, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessInfo, ProcessSpec
from moonpool.languages import inside
from moonpool.languages.answers import completions_of, symbols_of, symbols_of_search
from moonpool.languages.conversation import Conversation
from moonpool.languages.documents import Documents, Shelf, paths_of, uri_of
from moonpool.languages.errors import (
    LanguageServerFailed,
    LanguageServerGone,
    LanguageServerMissing,
    LanguageServerNotStarted,
    LanguageServerTimeout,
    RequestNotOffered,
)
from moonpool.languages.model import Completions, Position, Project, Symbol, command_for
from moonpool.processes.model import Sandboxes, checked_text
from moonpool.sandboxes.model import AgentSession

FILE_LIMIT = 16 * 1024 * 1024  # bytes of a source file
STOP_TIMEOUT = 5.0  # seconds for a server to end by itself
SEARCH_TIMEOUT = 60.0  # seconds
REPLAY_BYTES = 1024 * 1024
PYTHON = "python"
HOME = "~"  # to the agent

Answer = TypeVar("Answer")
PYTHON_SEARCH = resources.files(inside).joinpath("python_symbols.py").read_text()


class LanguageService:
    """Every method raises LanguageNotSupported; those after ``start`` LanguageServerNotStarted, unless the server was
    started and died: then it is started again. LanguageServerFailed, LanguageServerTimeout."""

    def __init__(self, sandboxes: Sandboxes, configured: Mapping[str, str]) -> None:
        self._sandboxes = sandboxes
        self._configured = configured
        self._shelf = Shelf()
        # One at a time speaks with a server; a lock lives as long as somebody holds or awaits it.
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def start(self, principal: Principal, sandbox: str, project: Project) -> None:
        """One that runs already is left alone. LanguageServerMissing, WorkingDirectoryNotFound."""
        async with self._alone(principal, sandbox, project) as (session, project):
            if not running(await found(session.agent, project.tag)):
                await self._launch(session, project)

    async def stop(self, principal: Principal, sandbox: str, project: Project) -> None:
        async with self._alone(principal, sandbox, project) as (session, project):
            info = await found(session.agent, project.tag)
            self._shelf.forget(session.sandbox.id, project.tag)
            if info is None:
                raise LanguageServerNotStarted
            if info.running:
                await end(session.agent, info)
            with contextlib.suppress(ProcessNotFound):
                await session.agent.forget(info.pid)

    async def open(self, principal: Principal, sandbox: str, project: Project, uri: str) -> None:
        """Tell the server of a file; FileNotFound. It need not be told to be asked: see ``documents``."""

        async def action(talk: "Talk") -> None:
            await talk.tell(uri)

        await self._ask(principal, sandbox, project, action)

    async def close(self, principal: Principal, sandbox: str, project: Project, uri: str) -> None:
        async def action(talk: "Talk") -> None:
            for path in talk.paths(uri):
                await talk.documents.close(talk.conversation, path)

        await self._ask(principal, sandbox, project, action)

    async def completions(
        self,
        principal: Principal,
        sandbox: str,
        project: Project,
        uri: str,
        position: Position,
        context: Mapping[str, Any] | None = None,
    ) -> Completions:
        if position.line < 0 or position.character < 0:
            raise InvalidInput("line and character must not be negative", field="position")

        async def action(talk: "Talk") -> Completions:
            path = await talk.tell(uri)
            where = {"line": position.line, "character": position.character}
            asked = {"textDocument": {"uri": uri_of(path)}, "position": where}
            asked |= {"context": dict(context)} if context else {}
            return completions_of(await talk.conversation.request("textDocument/completion", asked))

        return await self._ask(principal, sandbox, project, action)

    async def document_symbols(
        self, principal: Principal, sandbox: str, project: Project, uri: str
    ) -> tuple[Symbol, ...]:
        async def action(talk: "Talk") -> tuple[Symbol, ...]:
            path = await talk.tell(uri)
            asked = {"textDocument": {"uri": uri_of(path)}}
            return symbols_of(await talk.conversation.request("textDocument/documentSymbol", asked), uri_of(path))

        return await self._ask(principal, sandbox, project, action)

    async def workspace_symbols(
        self, principal: Principal, sandbox: str, project: Project, query: str
    ) -> tuple[Symbol, ...]:
        """RequestNotOffered where the server knows no such thing."""

        async def action(talk: "Talk") -> tuple[Symbol, ...]:
            try:
                return symbols_of(await talk.conversation.request("workspace/symbol", {"query": query}), "")
            except RequestNotOffered:
                if talk.project.language != PYTHON:
                    raise
                return await search_python(talk.session, talk.project, query)

        return await self._ask(principal, sandbox, project, action)

    # -- below -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _alone(
        self, principal: Principal, sandbox: str, project: Project
    ) -> AsyncIterator[tuple[AgentSession, Project]]:
        """With the project's path as an absolute one."""
        if not checked_text(project.path, "pathToProject"):
            raise InvalidInput("pathToProject must name a folder", field="pathToProject")
        command_for(project.language, self._configured)
        async with self._sandboxes.session(principal, sandbox) as session:
            project = await settled(session, project)
            key = (session.sandbox.id, project.tag)
            lock = self._locks.setdefault(key, asyncio.Lock())
            async with lock:
                yield session, project

    async def _ask(
        self, principal: Principal, sandbox: str, project: Project, action: Callable[["Talk"], Awaitable[Answer]]
    ) -> Answer:
        """A server that dies in the middle is started again, and asked again, once."""
        try:
            async with self._speaking(principal, sandbox, project) as talk:
                return await action(talk)
        except LanguageServerGone:
            async with self._sandboxes.session(principal, sandbox) as session:
                tag = (await settled(session, project)).tag
                with contextlib.suppress(ProcessNotFound):
                    await session.agent.wait(tag, STOP_TIMEOUT)
            async with self._speaking(principal, sandbox, project) as talk:
                return await action(talk)

    @asynccontextmanager
    async def _speaking(self, principal: Principal, sandbox: str, project: Project) -> AsyncIterator["Talk"]:
        async with self._alone(principal, sandbox, project) as (session, project):
            info = await found(session.agent, project.tag)
            if info is None:
                raise LanguageServerNotStarted
            if not info.running:
                await self._launch(session, project)
            async with session.agent.attach(project.tag, replay=False) as events:
                conversation = Conversation(session.agent, project.tag, events)
                documents = self._shelf.of(session.sandbox.id, project.tag)
                yield Talk(session, project, conversation, documents)

    async def _launch(self, session: AgentSession, project: Project) -> None:
        self._shelf.forget(session.sandbox.id, project.tag)
        spec = ProcessSpec(
            argv=command_for(project.language, self._configured),
            cwd=project.path,
            user=session.sandbox.user,
            stdin=True,
            tag=project.tag,
            replay_bytes=REPLAY_BYTES,
        )
        try:
            async with session.agent.start_and_attach(spec) as (_, events):
                await introduce(Conversation(session.agent, project.tag, events), project)
        except CommandNotFound as error:
            raise LanguageServerMissing(f"'{(spec.argv or ('',))[0]}' is not installed in this sandbox") from error
        except (LanguageServerFailed, LanguageServerTimeout):
            with contextlib.suppress(ProcessNotFound, ProcessEnded):
                await session.agent.signal(project.tag, signal.SIGKILL)
            raise


class Talk:
    """A conversation about the files of a project."""

    def __init__(
        self, session: AgentSession, project: Project, conversation: Conversation, documents: Documents
    ) -> None:
        self.session = session
        self.conversation = conversation
        self.documents = documents
        self.project = project

    def paths(self, uri: str) -> tuple[str, ...]:
        """Where the file may be: clients name it from the project's folder, or as they named the project's folder."""
        folders = (self.project.path, self.project.base or self.project.path)
        return paths_of(uri, *folders)

    async def tell(self, uri: str) -> str:
        """Read the file, tell the server what is in it, answer with its path."""
        path, *others = self.paths(uri)
        try:
            text = await self._read(path)
        except FileNotFound:
            if not others:
                raise
            path = others[0]
            text = await self._read(path)
        await self.documents.tell(self.conversation, path, self.project.language, text)
        return path

    async def _read(self, path: str) -> str:
        async with self.session.agent.read(path, length=FILE_LIMIT, user=self.session.sandbox.user) as reader:
            return b"".join([chunk async for chunk in reader]).decode(errors="replace")


async def settled(session: AgentSession, project: Project) -> Project:
    """With an absolute path; a relative one begins at the user's home, as files' paths do."""
    if posixpath.isabs(project.path):
        return project
    home = (await session.agent.stat(HOME, user=session.sandbox.user)).path
    return replace(project, path=posixpath.normpath(posixpath.join(home, project.path)), base=home)


async def found(agent: AgentClient, tag: str) -> ProcessInfo | None:
    try:
        return await agent.process(tag)
    except ProcessNotFound:
        return None


def running(info: ProcessInfo | None) -> bool:
    return info is not None and info.running


async def introduce(conversation: Conversation, project: Project) -> None:
    root = uri_of(project.path)
    await conversation.request(
        "initialize",
        {
            "processId": None,
            "rootUri": root,
            "rootPath": project.path,
            "workspaceFolders": [{"uri": root, "name": posixpath.basename(project.path) or project.path}],
            "capabilities": {
                "textDocument": {
                    "synchronization": {"didSave": False},
                    "completion": {"completionItem": {"documentationFormat": ["markdown", "plaintext"]}},
                    "documentSymbol": {"hierarchicalDocumentSymbolSupport": False},
                },
                "workspace": {"symbol": {}},
            },
        },
    )
    await conversation.notify("initialized", {})


async def end(agent: AgentClient, info: ProcessInfo) -> None:
    """As the protocol wants it, and by force when that takes too long."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT), agent.attach(info.pid, replay=False) as events:
            conversation = Conversation(agent, info.tag or "", events)
            await conversation.request("shutdown", None)
            await conversation.notify("exit", {})
            await agent.wait(info.pid)
    except (TimeoutError, LanguageServerFailed, LanguageServerTimeout, RequestNotOffered, ProcessEnded):
        with contextlib.suppress(ProcessNotFound, ProcessEnded):
            await agent.signal(info.pid, signal.SIGKILL)
            await agent.wait(info.pid, STOP_TIMEOUT)


async def search_python(session: AgentSession, project: Project, query: str) -> tuple[Symbol, ...]:
    command = ("python3", "-c", PYTHON_SEARCH, project.path, checked_text(query, "query"))
    spec = ProcessSpec(argv=command, user=session.sandbox.user, timeout=SEARCH_TIMEOUT)
    result = await session.agent.run(spec)
    if result.timed_out:
        raise LanguageServerTimeout(f"The search did not end within {SEARCH_TIMEOUT:.0f} seconds")
    if result.exit_code:
        raise RequestNotOffered(hint="Searching a Python project needs jedi in the sandbox.")
    return symbols_of_search(json.loads(result.stdout))
