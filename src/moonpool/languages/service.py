"""Use cases of language servers."""

import asyncio
import contextlib
import json
import posixpath
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib import resources
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from moonpool.access.model import Principal
from moonpool.cancellation import to_the_end
from moonpool.errors import (
    AgentTimeout,
    AgentUnavailable,
    CommandNotFound,
    FileNotFound,
    InvalidInput,
    ProcessEnded,
    ProcessNotFound,
)
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessEvent, ProcessInfo, ProcessSpec, SeenFile
from moonpool.ids import new_uuid
from moonpool.languages import inside
from moonpool.languages.answers import completions_of, symbols_of, symbols_of_search, understood
from moonpool.languages.clients import LanguageClient
from moonpool.languages.conversation import Conversation
from moonpool.languages.documents import stamp_of, uri_of
from moonpool.languages.errors import (
    LanguageServerFailed,
    LanguageServerGone,
    LanguageServerMissing,
    LanguageServerNotStarted,
    LanguageServerTimeout,
    RequestNotOffered,
    TooManyClients,
)
from moonpool.languages.messages import framed
from moonpool.languages.model import CAPABILITIES, Completions, Position, Project, Symbol, command_for
from moonpool.languages.questions import Asked, Question, paths_in
from moonpool.languages.shared import Shared, Shelf
from moonpool.processes.model import Sandboxes, checked_text
from moonpool.sandboxes.model import AgentSession

FILE_LIMIT = 16 * 1024 * 1024  # bytes of a source file
STOP_TIMEOUT = 5.0  # seconds for a server to end by itself
SEARCH_TIMEOUT = 60.0  # seconds
REPLAY_BYTES = 1024 * 1024
CLIENTS_LIMIT = 16  # connected to one server
UNINTRODUCED = ":new"  # at the end of tags
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
                await talk.documents.close(talk.conversation.notify, path)

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

        about: dict[str, Any] = {"position": {"line": position.line, "character": position.character}}
        about |= {"context": dict(context)} if context else {}
        question = Question("textDocument/completion", uri, about)

        async def action(talk: "Talk") -> Completions:
            _, answer = await talk.ask(question)
            return understood(completions_of, answer)

        return await self._ask(principal, sandbox, project, action, question)

    async def document_symbols(
        self, principal: Principal, sandbox: str, project: Project, uri: str
    ) -> tuple[Symbol, ...]:
        question = Question("textDocument/documentSymbol", uri)

        async def action(talk: "Talk") -> tuple[Symbol, ...]:
            path, answer = await talk.ask(question)
            return understood(symbols_of, answer, uri_of(path))

        return await self._ask(principal, sandbox, project, action, question)

    async def workspace_symbols(
        self, principal: Principal, sandbox: str, project: Project, query: str
    ) -> tuple[Symbol, ...]:
        """RequestNotOffered where the server knows no such thing."""

        async def action(talk: "Talk") -> tuple[Symbol, ...]:
            try:
                answer = await talk.conversation.request("workspace/symbol", {"query": query})
                return understood(symbols_of, answer, "")
            except RequestNotOffered:
                if talk.project.language != PYTHON:
                    raise
                return await search_python(talk.session, talk.project, query)

        return await self._ask(principal, sandbox, project, action)

    @asynccontextmanager
    async def connect(self, principal: Principal, sandbox: str, project: Project) -> AsyncIterator[LanguageClient]:
        """Stay connected to the project's server, which is started where it does not run. TooManyClients."""
        async with AsyncExitStack() as stack:
            async with self._alone(principal, sandbox, project) as (own, project):
                shared, info = await self._shared(own, project)
                if len(shared.members) >= CLIENTS_LIMIT:
                    raise TooManyClients(f"{CLIENTS_LIMIT} clients are connected to this language server")
                session = await stack.enter_async_context(self._sandboxes.session(principal, sandbox))
                events = await stack.enter_async_context(session.agent.attach(info.pid, replay=False))
                client = LanguageClient(session.agent, shared, info.pid, events, project.path)
                stack.push_async_callback(dismiss, client)
            yield client

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
        self,
        principal: Principal,
        sandbox: str,
        project: Project,
        action: Callable[["Talk"], Awaitable[Answer]],
        question: Question | None = None,
    ) -> Answer:
        """A server that dies in the middle is started again, and asked again, once. ``question`` is what ``action``
        will ask."""
        try:
            async with self._speaking(principal, sandbox, project, question) as talk:
                return await action(talk)
        except LanguageServerGone:
            async with self._sandboxes.session(principal, sandbox) as session:
                tag = (await settled(session, project)).tag
                with contextlib.suppress(ProcessNotFound):
                    await session.agent.wait(tag, STOP_TIMEOUT)
            async with self._speaking(principal, sandbox, project, question) as talk:
                return await action(talk)

    @asynccontextmanager
    async def _speaking(
        self, principal: Principal, sandbox: str, project: Project, question: Question | None
    ) -> AsyncIterator["Talk"]:
        async with self._alone(principal, sandbox, project) as (session, project), AsyncExitStack() as stack:
            try:
                info, events, asked = await self._attached(stack, session, project, question)
            except ProcessNotFound:
                raise LanguageServerNotStarted from None
            if not info.running:
                info = await self._launch(session, project)
                events = await stack.enter_async_context(session.agent.attach(info.pid, replay=False))
            shared = self._shelf.of(session.sandbox.id, project.tag)
            conversation = Conversation(session.agent, info.pid, events, shared)
            yield Talk(session, project, conversation, shared, asked)

    async def _attached(
        self, stack: AsyncExitStack, session: AgentSession, project: Project, question: Question | None
    ) -> tuple[ProcessInfo, AsyncIterator[ProcessEvent], Asked | None]:
        """With the question asked already where its file need not be told of: one round trip to the sandbox less for
        each of finding, looking, and asking."""
        agent, shared = session.agent, self._shelf.of(session.sandbox.id, project.tag)
        if question is not None:
            path = paths_in(project, question.uri)[0]
            async with shared.turn:
                if (known := shared.documents.asked(path)) is not None:
                    number = new_uuid()
                    seen = None if known.stamp is None else SeenFile(path, known.stamp, session.sandbox.user)
                    asking = agent.ask(project.tag, framed(question.message(number, path)), seen)
                    info, events, asked = await stack.enter_async_context(asking)
                    return info, events, Asked(number, path) if asked else None
        return *await stack.enter_async_context(agent.find_and_attach(project.tag, replay=False)), None

    async def _shared(self, session: AgentSession, project: Project) -> tuple[Shared, ProcessInfo]:
        """A server that this process has not introduced itself to is started anew: nobody could say what it offers."""
        info = await found(session.agent, project.tag)
        shared = self._shelf.of(session.sandbox.id, project.tag)
        if info is None or not info.running or shared.pid != info.pid:
            if info is not None and info.running:
                await end(session.agent, info)
            info = await self._launch(session, project)
            shared = self._shelf.of(session.sandbox.id, project.tag)
        return shared, info

    async def _launch(self, session: AgentSession, project: Project) -> ProcessInfo:
        """Under another tag until it is introduced, so that nobody meets one that was left alone before."""
        self._shelf.forget(session.sandbox.id, project.tag)
        shared = self._shelf.of(session.sandbox.id, project.tag)
        for tag in (project.tag, project.tag + UNINTRODUCED):
            with contextlib.suppress(ProcessNotFound):
                await session.agent.forget((await session.agent.process(tag)).pid)
        spec = ProcessSpec(
            argv=command_for(project.language, self._configured),
            cwd=project.path,
            user=session.sandbox.user,
            stdin=True,
            tag=project.tag + UNINTRODUCED,
            replay_bytes=REPLAY_BYTES,
        )
        try:
            async with session.agent.start_and_attach(spec) as (info, events):
                try:
                    conversation = Conversation(session.agent, info.pid, events, shared)
                    shared.introduced, shared.pid = await introduce(conversation, project), info.pid
                    return await session.agent.retag(info.pid, project.tag)
                except BaseException:
                    with contextlib.suppress(ProcessNotFound, AgentUnavailable, AgentTimeout):
                        await to_the_end(session.agent.forget(info.pid))
                    raise
        except CommandNotFound as error:
            raise LanguageServerMissing(f"'{(spec.argv or ('',))[0]}' is not installed in this sandbox") from error


class Talk:
    """A conversation about the files of a project."""

    def __init__(
        self,
        session: AgentSession,
        project: Project,
        conversation: Conversation,
        shared: Shared,
        asked: Asked | None = None,
    ) -> None:
        self.session = session
        self.conversation = conversation
        self.documents = shared.documents
        self.project = project
        self._asked = asked

    def paths(self, uri: str) -> tuple[str, ...]:
        return paths_in(self.project, uri)

    async def ask(self, question: Question) -> tuple[str, Any]:
        """The file's path, and the answer."""
        if (asked := self._asked) is not None:
            return asked.path, await self.conversation.answer(asked.number, question.method)
        path = await self.tell(question.uri)
        return path, await self.conversation.request(question.method, question.parameters(path))

    async def tell(self, uri: str) -> str:
        """Tell the server what is in the file, where it has changed since; answer with its path."""
        path, *others = self.paths(uri)
        try:
            await self._tell(path)
        except FileNotFound:
            if not others:
                raise
            path = others[0]
            await self._tell(path)
        return path

    async def _tell(self, path: str) -> None:
        agent, user = self.session.agent, self.session.sandbox.user
        if path in self.documents.open and self.documents.knows(path, stamp_of(await agent.stat(path, user=user))):
            return
        async with agent.read(path, length=FILE_LIMIT, user=user) as reader:
            text = b"".join([chunk async for chunk in reader]).decode(errors="replace")
            stamp = stamp_of(reader.info)
        await self.documents.tell(self.conversation.notify, path, self.project.language, text, stamp)


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


async def dismiss(client: LanguageClient) -> None:
    with contextlib.suppress(LanguageServerFailed, LanguageServerTimeout, AgentUnavailable, AgentTimeout):
        await to_the_end(client.leave())


async def introduce(conversation: Conversation, project: Project) -> Mapping[str, Any]:
    """What the server says of itself."""
    root = uri_of(project.path)
    said = await conversation.request(
        "initialize",
        {
            "processId": None,
            "rootUri": root,
            "rootPath": project.path,
            "workspaceFolders": [{"uri": root, "name": posixpath.basename(project.path) or project.path}],
            "capabilities": CAPABILITIES,
        },
    )
    await conversation.notify("initialized", {})
    return said if isinstance(said, dict) else {}


async def end(agent: AgentClient, info: ProcessInfo) -> None:
    """As the protocol wants it, and by force when that takes too long."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT), agent.attach(info.pid, replay=False) as events:
            conversation = Conversation(agent, info.pid, events, Shared())
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
    return understood(lambda: symbols_of_search(json.loads(result.stdout)))
