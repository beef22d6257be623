"""What the SDK's types say of every result and notification of the agent protocol, as JSON Schema.

No document describes this protocol; these are the types of ``@codesandbox/sdk`` 2.4.2, and the fields that it reads.
"""

from collections.abc import Mapping
from typing import Any

import jsonschema

Schema = Mapping[str, Any]

TEXT, FLAG, WHOLE = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
NOTHING: Schema = {"type": "object", "additionalProperties": False}


def table(optional: Mapping[str, Any] | None = None, /, **required: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    fields = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": fields, "additionalProperties": False}


def several(item: Schema) -> dict[str, Any]:
    return {"type": "array", "items": item}


def maybe(schema: Schema) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


SHELL_STATES = {"enum": ["RUNNING", "FINISHED", "ERROR", "KILLED", "RESTARTING"]}
SHELL = {"shellId": TEXT, "name": TEXT, "status": SHELL_STATES}
OWNED = {"ownerUsername": TEXT, "isSystemShell": FLAG}
EXITED = {"exitCode": WHOLE}


def shell(**more: Any) -> dict[str, Any]:
    terminal = table(EXITED, **SHELL, **OWNED, shellType={"const": "TERMINAL"}, **more)
    command = table(EXITED, **SHELL, shellType={"const": "COMMAND"}, startCommand=TEXT, **more)
    return {"oneOf": [terminal, command]}


OPEN_SHELL = shell(buffer=several(TEXT))
PORT = table(port={"type": "integer", "minimum": 1, "maximum": 65535}, url={"type": "string", "pattern": "^[^/]+$"})
STEP = table(
    name=TEXT,
    command=TEXT,
    shellId=maybe(TEXT),
    finishStatus={"enum": [None, "SUCCEEDED", "FAILED", "SKIPPED"]},
)
SETUP = table(
    state={"enum": ["IDLE", "IN_PROGRESS", "FINISHED", "STOPPED"]},
    steps={**several(STEP), "minItems": 1},
    currentStepIndex=WHOLE,
)
TASK = table(
    {
        "runAtStart": FLAG,
        "preview": table({"port": WHOLE}),
        "unconfigured": FLAG,
        "restartOn": {"type": "object"},
    },
    id=TEXT,
    name=TEXT,
    command=TEXT,
    shell=maybe(shell()),
    ports=several(PORT),
)
KIND = {"enum": [0, 1]}  # a file, a folder
CLIENT = table(clientId=TEXT, username=TEXT, name=TEXT, avatarUrl=maybe(TEXT), color=TEXT, appId=TEXT)

RESULTS: Mapping[str, Schema] = {
    "client/join": table(
        client=CLIENT,
        workspacePath=TEXT,
        version=TEXT,
        protocolVersion=TEXT,
        latestPitcherVersion=TEXT,
        capabilities={"type": "object"},
        permissions={"type": "object"},
        isProtected=FLAG,
        reconnectToken=TEXT,
    ),
    "setup/get": SETUP,
    "setup/init": SETUP,
    "shell/create": OPEN_SHELL,
    "shell/list": table(shells=several(shell())),
    "shell/open": OPEN_SHELL,
    "shell/in": {"type": "null"},
    "shell/rename": {"type": "null"},
    "shell/restart": {"type": "null"},
    "shell/terminate": maybe(shell()),
    "fs/readFile": table(content={}),
    "fs/writeFile": NOTHING,
    "fs/readdir": table(entries=several(table(name=TEXT, type=KIND, isSymlink=FLAG))),
    "fs/stat": table(
        type=KIND,
        isSymlink=FLAG,
        size=WHOLE,
        mtime={"type": "number"},
        ctime={"type": "number"},
        atime={"type": "number"},
    ),
    "fs/mkdir": NOTHING,
    "fs/remove": NOTHING,
    "fs/rename": NOTHING,
    "fs/copy": NOTHING,
    "fs/watch": table(watchId=TEXT),
    "fs/unwatch": NOTHING,
    "fs/download": table(downloadUrl={"type": "string", "pattern": "^https?://"}),
    "port/list": table(list=several(PORT)),
    "task/list": table(
        tasks={"type": "object", "additionalProperties": TASK},
        setupTasks=several(table(name=TEXT, command=TEXT)),
        validationErrors=several(TEXT),
    ),
    "task/run": TASK,
    "task/stop": maybe(TASK),
    "system/update": NOTHING,
}
NOTIFICATIONS: Mapping[str, Schema] = {
    "shell/out": table(shellId=TEXT, out=TEXT),
    "shell/exit": table(shellId=TEXT, shellType={"enum": ["TERMINAL", "COMMAND"]}, exitCode=WHOLE),
    "shell/terminate": table(shellId=TEXT, author=TEXT),
    "shell/restart": table(shellId=TEXT),
    "port/changed": table(list=several(PORT)),
    "setup/progress": SETUP,
    "task/update": TASK,
    "fs/watchEvent": table(
        watchId=TEXT, events=several(table(type={"enum": ["add", "change", "remove"]}, paths=several(TEXT)))
    ),
    "system/hibernate": NOTHING,
}
ERROR = table({"data": table(errno=maybe(WHOLE))}, code=WHOLE, message={"type": "string", "minLength": 1})
NEEDS_DATA = 102  # RAWFS_ERROR: the SDK reads data.errno


def check(schema: Schema, value: Any) -> None:
    jsonschema.Draft202012Validator(schema).validate(value)


def check_error(error: Mapping[str, Any]) -> None:
    check(ERROR, error)
    assert error["code"] != NEEDS_DATA or "data" in error
