"""What the toolbox's operations take.

Written by hand: the published contract is older than the clients. Field names as on the wire; unknown ones are ignored,
as the vendor's server does; types are strict, so that "5" is no number.
"""

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr

from moonpool.dialects.daytona.wire import WireModel

MAX_TERMINAL_SIZE = 1000  # rows or columns
DEFAULT_ROWS, DEFAULT_COLUMNS = 24, 80

Seconds = Annotated[float, Field(strict=True)]
Size = Annotated[StrictInt, Field(ge=0, le=MAX_TERMINAL_SIZE)]
Environment = dict[str, StrictStr]


class ExecuteRequest(WireModel):
    """``timeout`` in seconds."""

    command: StrictStr
    cwd: StrictStr | None = None
    envs: Environment | None = None
    timeout: Seconds | None = None


class CodeRunRequest(WireModel):
    code: StrictStr
    language: StrictStr = "python"
    argv: list[StrictStr] | None = None
    envs: Environment | None = None
    timeout: Seconds | None = None


class CreateSessionRequest(WireModel):
    sessionId: StrictStr


class SessionExecuteRequest(WireModel):
    command: StrictStr
    runAsync: StrictBool | None = None
    async_: StrictBool | None = Field(default=None, alias="async")
    suppressInputEcho: StrictBool | None = None

    @property
    def background(self) -> bool:
        return bool(self.runAsync or self.async_)


class SessionSendInputRequest(WireModel):
    data: StrictStr


class PtyCreateRequest(WireModel):
    """A size of 0 is the default one."""

    id: StrictStr | None = None
    cols: Size | None = None
    rows: Size | None = None
    cwd: StrictStr | None = None
    envs: Environment | None = None
    lazyStart: StrictBool | None = None


class PtyResizeRequest(WireModel):
    cols: Annotated[StrictInt, Field(ge=1, le=MAX_TERMINAL_SIZE)]
    rows: Annotated[StrictInt, Field(ge=1, le=MAX_TERMINAL_SIZE)]


class FilesDownloadRequest(WireModel):
    paths: list[StrictStr]


class ReplaceRequest(WireModel):
    files: list[StrictStr]
    pattern: StrictStr
    newValue: StrictStr


class UpdateEnvRequest(WireModel):
    set: Environment | None = None
    unset: list[StrictStr] | None = None
    unsetValuePrefix: StrictStr | None = None


class InitializeRequest(WireModel):
    token: StrictStr | None = None


class CreateContextRequest(WireModel):
    """``envs``, which clients of this server may add, are there for all of the context's code."""

    cwd: StrictStr | None = None
    language: StrictStr | None = None
    envs: Environment | None = None


class InterpreterExecuteRequest(WireModel):
    """The first message of the interpreter's websocket."""

    code: StrictStr
    contextId: StrictStr | None = None
    envs: Environment | None = None
    timeout: Seconds | None = None


class LspServerRequest(WireModel):
    languageId: StrictStr
    pathToProject: StrictStr


class LspDocumentRequest(LspServerRequest):
    uri: StrictStr


class LspPosition(WireModel):
    line: StrictInt
    character: StrictInt


class LspCompletionContext(WireModel):
    triggerKind: StrictInt
    triggerCharacter: StrictStr | None = None


class LspCompletionRequest(LspDocumentRequest):
    position: LspPosition
    context: LspCompletionContext | None = None
